"""Whose is what upstreams store: calls that name it go where it is, and what answers name is recorded first."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from app.core.db import DatabaseUnavailable
from app.errors import InvalidRequest
from app.gateway.stream import StoredObject
from app.ownership.service import OwnershipService
from app.ownership_errors import ObjectNotFound, ObjectsApart, PreviousResponseNotFound, UpstreamGone
from app.upstreams.directory import Directory
from app.upstreams.routing import Plan, Upstream

_log: Final = structlog.get_logger()
_REFERENCES_MAX: Final = 10_000
"""Of one request: they are looked up on a connection that other calls wait for."""


class Custody:
    """Knows for each stored object which upstream has it, and which project may name it."""

    def __init__(self, ownership: OwnershipService, directory: Directory) -> None:
        self._ownership = ownership
        self._directory = directory
        self.isolates = ownership.isolates
        """Whether each project is kept to what is its own."""

    async def narrow(self, project_id: str, plan: Plan, references: Sequence[str]) -> Plan:
        """Return what of *plan* can answer a request that names *references*; without any, it is *plan*.

        Raises ObjectNotFound or PreviousResponseNotFound for what the project does not own, ObjectsApart,
        InvalidRequest for very many, and when the upstream that has it all cannot answer for the model, UpstreamGone,
        and DatabaseUnavailable.
        """
        if not references:
            return plan
        if len(references) > _REFERENCES_MAX:
            raise InvalidRequest(f"The request names more than {_REFERENCES_MAX:,} stored objects.")
        found = await self._ownership.find_all(project_id, references)
        if self._ownership.isolates:
            for object_id in references:
                if object_id not in found:
                    raise _not_found(object_id)
        places = {owned.upstream_name: object_id for object_id, owned in found.items()}
        if not places:
            return plan
        if len(places) > 1:
            first, second, *_ = places.values()
            raise ObjectsApart(first, second)
        [(name, object_id)] = places.items()
        targets = tuple(target for target in plan.targets if target.upstream.name == name)
        if targets:
            return Plan(targets)
        self._named(name, object_id)
        raise InvalidRequest(
            f"'{object_id}' is kept by an upstream that does not serve the model '{plan.targets[0].model}'.",
            param="model",
        )

    async def place_of(self, project_id: str, object_id: str) -> Upstream:
        """Return the upstream that has an object which the project may use.

        Raises ObjectNotFound, UpstreamGone, and DatabaseUnavailable.
        """
        owned = await self._ownership.find(project_id, object_id)
        if owned is not None:
            return self._named(owned.upstream_name, object_id)
        if not self._directory.upstreams:
            raise ObjectNotFound(object_id)
        return self._directory.upstreams[0]

    async def places_of(self, project_id: str, kind: str, after: str | None) -> list[Upstream]:
        """Return the upstreams that have objects of *kind* which the project may see, from the one with *after* on.

        Raises ObjectNotFound when *after* is none of them, and DatabaseUnavailable.
        """
        upstreams = list(self._directory.upstreams)
        if self._ownership.isolates:
            names = await self._ownership.places(project_id, kind)
            upstreams = [upstream for upstream in upstreams if upstream.name in names]
        if after is not None:
            first = await self.place_of(project_id, after)
            upstreams = upstreams[upstreams.index(first) if first in upstreams else 0 :]
        return upstreams

    async def owned(self, project_id: str, upstream_name: str, object_ids: Sequence[str]) -> set[str]:
        """Return those of *object_ids*, of one upstream, that the project may see; raises DatabaseUnavailable."""
        if not self._ownership.isolates:
            return set(object_ids)
        found = await self._ownership.find_all(project_id, object_ids)
        return {object_id for object_id, owned in found.items() if owned.upstream_name == upstream_name}

    async def forget(self, project_id: str, object_id: str) -> None:
        """Forget an object that was deleted; one that cannot be forgotten now stays the project's."""
        try:
            await self._ownership.forget(project_id, object_id)
        except DatabaseUnavailable as error:
            _log.warning("object_not_forgotten", reason=error.reason)

    async def keep(self, project_id: str, upstream_name: str, stored: Sequence[StoredObject]) -> None:
        """Have it written that *stored* is the project's, before anybody sees an id of it.

        An answer that was paid for is not held back for ever: after five seconds without the database its caller gets
        it, and what it names can be used again once the database is back.
        """
        if not stored:
            return
        records = (self._ownership.record(project_id, each.id, each.kind, upstream_name) for each in stored)
        try:
            await asyncio.gather(*records)
        except DatabaseUnavailable as error:
            _log.warning("object_not_recorded_yet", upstream=upstream_name, reason=error.reason)

    async def claim_sessions(self, project_id: str, upstream_name: str, container_ids: Iterable[str]) -> set[str]:
        """Return those of the containers that are paid for; while nobody can know, all of them are new."""
        try:
            return await self._ownership.claim_sessions(project_id, upstream_name, container_ids)
        except DatabaseUnavailable as error:
            _log.warning("sessions_not_claimed", upstream=upstream_name, reason=error.reason)
            return set()

    def _named(self, upstream_name: str, object_id: str) -> Upstream:
        for upstream in self._directory.upstreams:
            if upstream.name == upstream_name:
                return upstream
        raise UpstreamGone(object_id)


def _not_found(object_id: str) -> Exception:
    if object_id.startswith("resp_"):
        return PreviousResponseNotFound(object_id)
    return ObjectNotFound(object_id, param="input")
