"""Projects: the tenant that keys, calls and costs belong to."""

from typing import Final

from app.audit.service import record
from app.core.clock import Clock, utc_now
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, NotFound
from app.identity.roles import PROJECT_RIGHTS
from app.projects import member_repository, repository
from app.projects.record import ProjectRecord

DEFAULT_PROJECT_ID: Final = "proj_default"
PROJECTS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears the ids of projects that changed."""


class ProjectService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, clock: Clock = utc_now) -> None:
        self._db = db
        self._clock = clock

    async def create_default(self) -> str:
        """Make the project that a new installation starts with, unless it is there, and return its id."""
        async with self._db.transaction() as tx:
            if await repository.create_unless_there(tx, DEFAULT_PROJECT_ID, "Default"):
                await record(tx, "project.created", DEFAULT_PROJECT_ID, details={"data": {"name": "Default"}})
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
            return await repository.find_project(tx, project_id) is not None

    async def get(self, project_id: str) -> ProjectRecord:
        """Return a project, archived or not; raises NotFound."""
        async with self._db.transaction() as tx:
            return await self._get(tx, project_id)

    async def require(self, tx: Transaction, project_id: str) -> None:
        """Raise NotFound when there is no such project."""
        await self._get(tx, project_id)

    async def require_open(self, tx: Transaction, project_id: str) -> ProjectRecord:
        """Keep the project from being archived until *tx* ends; raises NotFound, InvalidRequest for an archived one."""
        project = await self._get(tx, project_id, locks=True)
        if project.archived_at is not None:
            raise InvalidRequest("The project is archived: nothing in it can be changed.", param="project_id")
        return project

    async def admits(self, tx: Transaction, project_id: str, user_id: str | None) -> bool:
        """Tell whether calls may be made for a project now: by the person *user_id*, or by a program."""
        project = await repository.find_project(tx, project_id)
        if project is None or project.archived_at is not None:
            return False
        if user_id is None:
            return True
        member = await member_repository.find_member(tx, project_id, user_id)
        return member is not None and "call" in PROJECT_RIGHTS[member.role]

    async def list_projects(
        self, project_ids: tuple[str, ...] | None, paging: Paging, *, include_archived: bool
    ) -> Page[ProjectRecord]:
        """Return a page of all projects, or of those with these ids; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_project(tx, paging.after)
            is_hidden = after is not None and project_ids is not None and after.id not in project_ids
            if paging.after is not None and (after is None or is_hidden):
                raise InvalidRequest("Invalid value for 'after': there is no such project.", param="after")
            found = await repository.list_projects(tx, project_ids, paging, after, include_archived=include_archived)
        return Page.of(found, paging.limit)

    async def create(self, name: str) -> ProjectRecord:
        """Make a project."""
        project = ProjectRecord(new_id("proj"), name, self._clock(), archived_at=None)
        async with self._db.transaction() as tx:
            await repository.create_project(tx, project)
            await record(tx, "project.created", project.id, project_id=project.id, details={"data": {"name": name}})
        return project

    async def update(self, project_id: str, name: str, if_match: str | None = None) -> ProjectRecord:
        """Give a project another name; raises NotFound, InvalidRequest for an archived one, PreconditionFailed."""
        async with self._db.transaction() as tx:
            require_meant(if_match, await self.require_open(tx, project_id))
            project = await repository.update_project(tx, project_id, {"name": name})
            details = {"changes_requested": {"name": name, "title": name}}
            await record(tx, "project.updated", project_id, project_id=project_id, details=details)
        return project

    async def archive(self, project_id: str, if_match: str | None = None) -> ProjectRecord:
        """End a project for good: its keys stop working on every replica within a second. Nothing of it is deleted.

        Archiving twice is harmless. Raises NotFound, PreconditionFailed, and InvalidRequest for the project of the
        installation.
        """
        if project_id == DEFAULT_PROJECT_ID:
            raise InvalidRequest("The project that Weir began with cannot be archived.", param="project_id")
        async with self._db.transaction() as tx:
            project = await self._get(tx, project_id, locks=True)
            require_meant(if_match, project)
            if project.archived_at is not None:
                return project
            project = await repository.update_project(tx, project_id, {"archived_at": self._clock()})
            await repository.notify(tx, project_id)
            await record(tx, "project.archived", project_id, project_id=project_id)
        return project

    async def _get(self, tx: Transaction, project_id: str, *, locks: bool = False) -> ProjectRecord:
        project = await repository.find_project(tx, project_id, locks=locks)
        if project is None:
            raise NotFound(f"There is no project '{project_id}'.", param="project_id")
        return project
