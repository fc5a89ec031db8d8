"""Which projects have their answers cached. What a call needs is in memory, replaced as a whole."""

from typing import Final

from app.answers import repository
from app.answers.policy import CachePolicy
from app.audit.service import record
from app.core.db import Database
from app.core.snapshot import Snapshot
from app.core.version_tags import require_meant
from app.projects.service import ProjectService

CACHES_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears the ids of projects of which something else was said."""
_NOTHING_SAID: Final = CachePolicy()


class CachePolicyService(Snapshot):
    """Where nothing was said of a project, its calls ask for caching one by one."""

    def __init__(self, db: Database, projects: ProjectService) -> None:
        super().__init__()
        self._db = db
        self._projects = projects
        self._known: dict[str, CachePolicy] = {}

    def of(self, project_id: str) -> CachePolicy:
        """Return what was said of a project. No I/O."""
        return self._known.get(project_id, _NOTHING_SAID)

    async def _load(self) -> None:
        async with self._db.transaction() as tx:
            self._known = await repository.list_policies(tx)

    async def get(self, project_id: str) -> CachePolicy:
        """Return what was said of a project; raises NotFound."""
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            return await repository.find_policy(tx, project_id) or _NOTHING_SAID

    async def update(self, project_id: str, policy: CachePolicy, if_match: str | None = None) -> CachePolicy:
        """Say *policy* of a project, on every replica within a second.

        Raises NotFound, InvalidRequest for an archived project, PreconditionFailed.
        """
        await self._write(project_id, policy, if_match)
        return policy

    async def delete(self, project_id: str, if_match: str | None = None) -> None:
        """Say nothing of a project any more; raises as `update` does."""
        await self._write(project_id, None, if_match)

    async def _write(self, project_id: str, policy: CachePolicy | None, if_match: str | None) -> None:
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            require_meant(if_match, await repository.find_policy(tx, project_id) or _NOTHING_SAID)
            await repository.write_policy(tx, project_id, policy)
            details = {"changes_requested": {"cache": None if policy is None else policy._asdict()}}
            await record(tx, "project.updated", project_id, project_id=project_id, details=details)
        await self.load()
