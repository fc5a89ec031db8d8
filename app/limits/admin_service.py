"""Limits are made, changed and deleted here, each change audited with it; every process keeps them a moment later."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.audit.service import record as audit
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_version
from app.errors import InvalidRequest, NotFound
from app.limits import repository
from app.limits.limit import Scope
from app.limits.record import IN_SCOPE_MAX, LimitFilter, LimitRecord, NewLimit, Sort
from app.limits.service import LimitService

Exists = Callable[[str], Awaitable[bool]]
"""Tells whether there is a project, or an API key ..., with this id."""


class LimitAdminService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, limits: LimitService, exists: Mapping[Scope, Exists]) -> None:
        self._db = db
        self._limits = limits
        self._exists = exists

    async def create(self, new: NewLimit) -> LimitRecord:
        """Make a limit that holds from now on; raises InvalidRequest or NotFound."""
        await self._check(new)
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            if await repository.count_in_scope(tx, new.scope, new.scope_id) >= IN_SCOPE_MAX:
                raise InvalidRequest(
                    f"There are {IN_SCOPE_MAX} limits for this scope already: delete one first.", param="scope"
                )
            record = await repository.create_limit(tx, new_id("lim"), new)
            await _audit(tx, "limit.created", record, {"data": new._asdict()})
        await self._limits.load()
        return record

    async def list_limits(self, wanted: LimitFilter, sort: Sort, paging: Paging) -> Page[LimitRecord]:
        """Return a page of limits; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_limit(tx, paging.after)
            if paging.after is not None and after is None:
                raise InvalidRequest("Invalid value for 'after': there is no such limit.", param="after")
            return Page.of(await repository.list_limits(tx, wanted, sort, paging, after), paging.limit)

    async def get(self, limit_id: str) -> LimitRecord:
        """Return a limit; raises NotFound."""
        async with self._db.transaction() as tx:
            return await _get(tx, limit_id)

    async def update(self, limit_id: str, columns: Mapping[str, Any], if_match: str | None) -> LimitRecord:
        """Set some of `name`, `maximum` and `mode`; raises NotFound, or PreconditionFailed for another version."""
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            record = await _get_for_change(tx, limit_id, if_match)
            changed = {name: value for name, value in columns.items() if getattr(record, name) != value}
            if not changed:
                return record
            record = await repository.update_limit(tx, limit_id, changed)
            await _audit(tx, "limit.updated", record, {"changes_requested": changed})
        await self._limits.load()
        return record

    async def delete(self, limit_id: str, if_match: str | None) -> None:
        """Delete a limit; raises as `update` does."""
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            record = await _get_for_change(tx, limit_id, if_match)
            await repository.delete_limit(tx, limit_id)
            await _audit(tx, "limit.deleted", record, {})
        await self._limits.load()

    async def _check(self, new: NewLimit) -> None:
        if (new.counts == "concurrent") != (new.per is None):
            raise InvalidRequest("Invalid value for 'per': only a limit on concurrent calls has none.", param="per")
        if new.scope == "organization" and new.scope_id is not None:
            raise InvalidRequest(
                "Invalid value for 'scope_id': a limit of the organization has none.", param="scope_id"
            )
        if new.scope == "address" and (new.counts != "requests" or new.model is not None):
            raise InvalidRequest(
                "Invalid value for 'counts': of an address only requests that are not authenticated are limited, "
                "for every model.",
                param="counts",
            )
        exists = self._exists.get(new.scope)
        if new.scope_id is not None and exists is not None and not await exists(new.scope_id):
            raise NotFound(f"There is no {new.scope} with this 'scope_id'.", param="scope_id")


async def _get(tx: Transaction, limit_id: str) -> LimitRecord:
    record = await repository.find_limit(tx, limit_id)
    if record is None:
        raise NotFound("There is no limit with this id.", param="limit_id")
    return record


async def _get_for_change(tx: Transaction, limit_id: str, if_match: str | None) -> LimitRecord:
    record = await _get(tx, limit_id)
    require_version(if_match, record.version, "limit")
    return record


async def _audit(tx: Transaction, event: str, record: LimitRecord, details: Mapping[str, Any]) -> None:
    project_id = record.scope_id if record.scope == "project" else None
    await audit(tx, event, record.id, project_id=project_id, details=details)
