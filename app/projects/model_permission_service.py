"""Which models may be called, by project and by key. What a call needs is in memory, replaced as a whole."""

from collections.abc import Sequence

from app.audit.service import record
from app.core.db import Database
from app.core.snapshot import Snapshot
from app.core.version_tags import require_meant
from app.projects import repository
from app.projects.model_permissions import is_allowed
from app.projects.record import ModelPermissions
from app.projects.service import ProjectService


class ModelPermissionService(Snapshot):
    """A project without permissions of its own may call every model."""

    def __init__(self, db: Database, projects: ProjectService) -> None:
        super().__init__()
        self._db = db
        self._projects = projects
        self._known: dict[str, ModelPermissions] = {}

    def allows(self, project_id: str | None, of_key: Sequence[str], model: str) -> bool:
        """Tell whether *model* may be called and seen in a project, with a key that is kept to the patterns *of_key*.

        Without a project every model is seen. No I/O.
        """
        of_project = None if project_id is None else self._known.get(project_id)
        return is_allowed(model, of_key, of_project)

    async def _load(self) -> None:
        async with self._db.transaction() as tx:
            self._known = await repository.list_permissions(tx)

    async def get(self, project_id: str) -> ModelPermissions:
        """Return what a project may call: nothing is denied where nothing was said. Raises NotFound."""
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            return await repository.find_permissions(tx, project_id) or ModelPermissions()

    async def update(
        self, project_id: str, permissions: ModelPermissions, if_match: str | None = None
    ) -> ModelPermissions:
        """Say what a project may call, on every replica within a second.

        Raises NotFound, InvalidRequest, PreconditionFailed.
        """
        await self._write(project_id, permissions, if_match)
        return permissions

    async def delete(self, project_id: str, if_match: str | None = None) -> None:
        """Let a project call every model again; raises as `update` does."""
        await self._write(project_id, None, if_match)

    async def _write(self, project_id: str, permissions: ModelPermissions | None, if_match: str | None) -> None:
        mode, model_ids = permissions or (None, ())
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            require_meant(if_match, await repository.find_permissions(tx, project_id) or ModelPermissions())
            columns = {"model_mode": mode, "model_ids": list(model_ids)}
            await repository.update_project(tx, project_id, columns)
            await repository.notify(tx, project_id)
            changes = {"model_permissions": None if mode is None else {"mode": mode, "model_ids": list(model_ids)}}
            details = {"changes_requested": changes}
            await record(tx, "project.updated", project_id, project_id=project_id, details=details)
        await self.load()
