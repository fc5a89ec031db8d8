"""Who owns what is stored upstream: written before its id is shown, asked for whenever somebody names one.

PostgreSQL is the only authority: while it is away, nobody gets at anything that is stored.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import structlog

from app.core.background import delete_all, keep_purged
from app.core.db import Database, DatabaseUnavailable
from app.core.group_commit import GroupCommit
from app.gateway_settings import Gateway as GatewaySettings
from app.ownership import repository
from app.ownership.owned import Owned, OwnedObject, is_object_id
from app.ownership_errors import ObjectNotFound

_log: Final = structlog.get_logger()
_BATCH_MAX: Final = 500
_RETRY_SECONDS: Final = 0.25
_PATIENCE_SECONDS: Final = 5.0
"""How long an answer waits for the database to know whose it is."""
_PURGE_SECONDS: Final = 3_600.0
_PURGE_ROWS: Final = 500
_PASSING: Final = ("audio", "response", "chat.completion", "item", "session")
"""Kinds that upstreams delete by themselves after a while."""
_SESSION_MINUTES: Final = 20
"""What the price of a session of a container is for."""
_SESSION_ID: Final = "{}#session"
"""A container and its session are two rows: to know whose one is does not mean that it was paid for."""


class OwnershipService:
    """Records, finds and forgets the owners of stored objects."""

    def __init__(self, db: Database, settings: GatewaySettings) -> None:
        self._db = db
        self._settings = settings
        self.isolates = settings.isolation == "project"
        """Whether what belongs to another project is as good as not there."""
        self._recording: GroupCommit[OwnedObject, None] = GroupCommit(self._write, batch_max=_BATCH_MAX)

    async def record(self, project_id: str, object_id: str, kind: str, upstream_name: str) -> None:
        """Write that *project_id* owns an object, a *kind* such as `response`, at an upstream; durable on return.

        Those recorded in one turn of the event loop share a commit. An object that has an owner keeps it. An id that no
        object can have is not written, and so nobody's. Raises DatabaseUnavailable when it is not durable after five
        seconds; then it is written as soon as possible.
        """
        if not is_object_id(object_id):
            _log.warning("object_not_recorded", kind=kind, upstream=upstream_name, reason="its id cannot be one")
            return
        written = self._recording.submit(OwnedObject(project_id, object_id, kind, upstream_name))
        try:
            await asyncio.wait_for(asyncio.shield(written), _PATIENCE_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable("who owns an object could not be written in time") from None

    async def find(self, project_id: str, object_id: str) -> Owned | None:
        """Return where an object is that *project_id* may use; raises ObjectNotFound and DatabaseUnavailable.

        None only where projects are not isolated, and nothing is known of the object: then the first upstream may know.
        """
        found = (await self.find_all(project_id, [object_id])).get(object_id)
        if found is None and self.isolates:
            raise ObjectNotFound(object_id)
        return found

    async def find_all(self, project_id: str, object_ids: Sequence[str]) -> dict[str, Owned]:
        """Return where those of *object_ids* are that *project_id* may use, as far as that is known."""
        possible = list({object_id for object_id in object_ids if is_object_id(object_id)})
        if not possible:
            return {}
        async with self._db.hot_connection() as connection:
            return await repository.find(connection, project_id, possible, of_anyone=not self.isolates)

    async def owned(self, project_id: str, object_ids: Iterable[str]) -> set[str]:
        """Return those of *object_ids* that *project_id* may see; all of them where projects are not isolated."""
        if not self.isolates:
            return set(object_ids)
        return set(await self.find_all(project_id, list(object_ids)))

    async def claim_sessions(self, project_id: str, upstream_name: str, container_ids: Iterable[str]) -> set[str]:
        """Return those of the containers whose session *project_id* pays for already; the others' begin now.

        Whoever claims must charge for all but what is returned. Raises DatabaseUnavailable, after five seconds at most.
        """
        containers = {_SESSION_ID.format(each): each for each in container_ids}
        possible = [each for each in containers if is_object_id(each)]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._db.hot_connection() as connection:
                paid = await repository.claim_sessions(
                    connection, project_id, upstream_name, possible, _SESSION_MINUTES
                )
        except TimeoutError:
            raise DatabaseUnavailable("the sessions of containers could not be read in time") from None
        return {containers[each] for each in paid}

    async def places(self, project_id: str, kind: str) -> set[str]:
        """Return the names of the upstreams that have objects of *kind* of the project; raises DatabaseUnavailable."""
        async with self._db.hot_connection() as connection:
            return await repository.find_upstreams(connection, project_id, kind)

    async def forget(self, project_id: str, object_id: str) -> None:
        """Forget an object that was deleted; raises DatabaseUnavailable."""
        if is_object_id(object_id):
            async with self._db.hot_connection() as connection:
                await repository.delete(connection, project_id, object_id)

    async def keep_purged(self) -> None:
        """Forget what upstreams have deleted by themselves long ago, now and every hour, until cancelled."""
        await keep_purged(self.purge, _PURGE_SECONDS, failed="owned_objects_not_purged")

    async def purge(self) -> int:
        """Forget every response, chat completion and item that is older than the setting says; return how many."""
        purge = partial(repository.purge, kinds=_PASSING, days=self._settings.stored_days_max)
        return await delete_all(self._db, purge, _PURGE_ROWS)

    async def close(self, grace_seconds: float = _PATIENCE_SECONDS) -> None:
        """Write what is pending; what cannot be within *grace_seconds* is logged."""
        try:
            await asyncio.wait_for(self._recording.drain(), grace_seconds)
        except TimeoutError:
            for each in self._recording.take_pending():
                _log.error("object_not_recorded", **each._asdict(), reason="Weir stopped before the database was back")

    async def _write(self, objects: Sequence[OwnedObject]) -> Sequence[None]:
        while True:
            try:
                async with self._db.hot_connection() as connection:
                    await repository.add(connection, objects)
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return [None] * len(objects)
