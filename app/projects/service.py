"""Projects: the tenant that keys, calls and costs belong to."""

from typing import Final

from app.core.db import Database
from app.errors import NotFound
from app.projects import repository

DEFAULT_PROJECT_ID: Final = "proj_default"


class ProjectService:
    """Makes and finds projects."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_default(self) -> str:
        """Make the project that a new installation starts with, unless it is there, and return its id."""
        async with self._db.transaction() as tx:
            await repository.create_project(tx, DEFAULT_PROJECT_ID, "Default")
        return DEFAULT_PROJECT_ID

    async def get_id(self, name_or_id: str) -> str:
        """Return the id of a project given by id or name; raises NotFound."""
        async with self._db.transaction() as tx:
            project_id = await repository.find_project_id(tx, name_or_id)
        if project_id is None:
            raise NotFound(f"There is no project '{name_or_id}'.", param="project")
        return project_id

    async def exists(self, project_id: str) -> bool:
        """Tell whether there is a project with this id, archived or not."""
        async with self._db.transaction() as tx:
            return await repository.has_project(tx, project_id)
