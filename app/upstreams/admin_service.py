"""Upstreams are added, changed, tried out and deleted here; every process sends by it a moment later.

What is to be saved is tried first, never inside a transaction. A credential goes in and never comes out.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from app.audit.service import record as audit
from app.core.crypto import SecretBox
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_version
from app.errors import InvalidRequest, MissingParameter, NotFound, PreconditionFailed
from app.upstream_errors import UpstreamExists, UpstreamTestFailed
from app.upstreams import breaker_repository, repository
from app.upstreams.address import read_url, written
from app.upstreams.directory_service import DirectoryService
from app.upstreams.guarded_client import GuardedResolver
from app.upstreams.record import (
    RESERVED_NAMES,
    UPSTREAMS_MAX,
    Fault,
    Sort,
    State,
    UpstreamConfig,
    UpstreamRecord,
    columns,
    redacted,
)
from app.upstreams.routing import Upstream
from app.upstreams.trial import Trial
from app.upstreams.trial_service import TrialService

# What decides whether an upstream answers at all.
_TRIED: Final = frozenset({"provider", "base_url", "api_key", "api_version", "enabled"})
_FAULTS: Final[dict[Fault, str]] = {
    "address_refused": "The settings do not allow its address any more.",
    "credential_unreadable": "Its credential cannot be decrypted with the keys that are configured: give it again.",
}
Config = TypeVar("Config", bound=UpstreamConfig)


class UpstreamAdminService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(
        self,
        db: Database,
        directory: DirectoryService,
        trials: TrialService,
        resolver: GuardedResolver,
        box: SecretBox,
    ) -> None:
        self._db = db
        self._directory = directory
        self._trials = trials
        self._resolver = resolver
        self._box = box

    async def create(self, new: UpstreamConfig, api_key: str | None, *, test: bool) -> UpstreamRecord:
        """Add an upstream that calls go to from now on.

        Raises InvalidRequest, UpstreamExists, or with *test* UpstreamTestFailed when it does not answer as it should.
        """
        if new.name in RESERVED_NAMES:
            raise InvalidRequest("Invalid value for 'name': an upstream from the environment has it.", param="name")
        new = await self._checked(new)
        upstream_id = new_id("upstream")
        credential = self._sealed(upstream_id, api_key)
        if test:
            await self._try_out(new.with_credential(upstream_id, api_key or ""))
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            if await repository.name_exists(tx, new.name):
                raise UpstreamExists
            if await repository.count_upstreams(tx) >= UPSTREAMS_MAX:
                raise InvalidRequest(f"There are {UPSTREAMS_MAX} upstreams already: delete one first.", param="name")
            record = await repository.create_upstream(tx, upstream_id, new, credential)
            await audit(tx, "upstream.created", upstream_id, details={"data": _shown(columns(new), credential)})
        await self._directory.load()
        return record

    async def list_upstreams(self, sort: Sort, paging: Paging) -> Page[UpstreamRecord]:
        """Return a page of upstreams; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_upstream(tx, paging.after)
            if paging.after is not None and after is None:
                raise InvalidRequest("Invalid value for 'after': there is no such upstream.", param="after")
            return Page.of(await repository.list_upstreams(tx, sort, paging, after), paging.limit)

    async def get(self, upstream_id: str) -> UpstreamRecord:
        """Return an upstream; raises NotFound."""
        async with self._db.transaction() as tx:
            return await _get(tx, upstream_id)

    def state(self, record: UpstreamRecord) -> State:
        """Return whether calls may go there."""
        return self._directory.state(record)

    async def update(
        self, upstream_id: str, changes: Mapping[str, Any], *, test: bool, if_match: str | None
    ) -> UpstreamRecord:
        """Set what *changes* names, `api_key` maybe among it; raises as `create` does, NotFound, PreconditionFailed."""
        before = await self.get(upstream_id)
        require_version(if_match, before.version, "upstream")
        config = {name: value for name, value in changes.items() if name != "api_key"}
        candidate = await self._checked(replace(before, **config))
        values, values_before = columns(candidate), columns(before)
        changed = {name: value for name, value in values.items() if value != values_before[name]}
        credential: dict[str, Any] = {}
        if "api_key" in changes:
            credential = self._sealed(upstream_id, changes["api_key"])
        elif before.api_key_encrypted and read_url(before.base_url).origin != read_url(candidate.base_url).origin:
            # Whoever may change addresses could otherwise have a credential sent to a server of their own.
            raise MissingParameter("api_key")
        if not changed and not credential:
            return before
        if test and _TRIED & {*changed, *(("api_key",) if credential else ())}:
            await self._try_out(self._opened(replace(candidate, **credential)))
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            if (await _get(tx, upstream_id)).version != before.version:
                raise PreconditionFailed("The upstream was changed meanwhile: read it again.")
            record = await repository.update_upstream(tx, upstream_id, {**changed, **credential})
            shown = {"changes_requested": _shown(changed, credential)}
            await audit(tx, "upstream.updated", upstream_id, details=shown)
        await self._directory.load()
        return record

    async def delete(self, upstream_id: str, if_match: str | None) -> None:
        """Delete an upstream: no call goes there any more. Raises NotFound, PreconditionFailed."""
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            record = await _get(tx, upstream_id)
            require_version(if_match, record.version, "upstream")
            await repository.delete_upstream(tx, upstream_id)
            await breaker_repository.delete_of_upstream(tx, record.name)
            await audit(tx, "upstream.deleted", upstream_id, details={"data": {"name": record.name}})
        await self._directory.load()

    async def try_out(self, upstream_id: str) -> Trial:
        """Return how a saved upstream answers now, also one that is disabled; raises NotFound."""
        opened = self._directory.open(await self.get(upstream_id))
        if isinstance(opened, Upstream):
            return await self._trials.try_out(opened)
        return Trial(opened, _FAULTS[opened], 0)

    async def _checked(self, config: Config) -> Config:
        """Return *config* with its address written in the one way; raises InvalidRequest naming what is wrong."""
        if not config.models and not config.aliases:
            raise InvalidRequest("Invalid value for 'models': name models, or 'aliases', to be served.", param="models")
        if config.api_version is not None and config.provider != "azure":
            raise InvalidRequest("Invalid value for 'api_version': only Azure has one.", param="api_version")
        try:
            place = read_url(config.base_url)
            reason = await self._resolver.refusal(place)
        except ValueError as error:
            reason = str(error)
        if reason is not None:
            raise InvalidRequest(f"Invalid value for 'base_url': {reason}.", param="base_url")
        return replace(config, base_url=written(place))

    def _opened(self, record: UpstreamRecord) -> Upstream:
        opened = self._directory.open(record)
        if isinstance(opened, Upstream):
            return opened
        raise InvalidRequest(f"Invalid value for 'api_key': {_FAULTS[opened]}", param="api_key")

    async def _try_out(self, candidate: Upstream) -> None:
        trial = await self._trials.try_out(candidate)
        if trial.failure is not None:
            param = "api_key" if trial.failure == "credential_refused" else "base_url"
            advice = "Nothing was saved; with 'test': false it is, unseen."
            raise UpstreamTestFailed(f"The upstream failed the test. {trial.message} {advice}", param=param)

    def _sealed(self, upstream_id: str, api_key: str | None) -> dict[str, Any]:
        """Return the columns of a credential."""
        if not api_key:
            return {"api_key_encrypted": None, "api_key_redacted": None}
        sealed = self._box.encrypt(api_key, upstream_id)
        return {"api_key_encrypted": sealed, "api_key_redacted": redacted(api_key)}


async def _get(tx: Transaction, upstream_id: str) -> UpstreamRecord:
    record = await repository.find_upstream(tx, upstream_id)
    if record is None:
        raise NotFound("There is no upstream with this id.", param="upstream_id")
    return record


def _shown(values: Mapping[str, Any], credential: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the audit log says: of a credential only that there is another one, and how it ends."""
    shown = {"redacted_api_key": credential["api_key_redacted"]} if credential else {}
    return {**values, **shown}
