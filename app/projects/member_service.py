"""Who is in which project, and as what. What a process knows of it is asked for without any I/O."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from app.audit.service import record
from app.core.clock import Clock, utc_now
from app.core.db import Database, Transaction
from app.core.pagination import Page, Paging
from app.core.remembered import Remembered
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, MissingParameter, NotFound
from app.identity.people_service import PeopleService
from app.identity.person import UserRecord
from app.identity.roles import PROJECT_RIGHTS, Role
from app.projects import member_repository as repository
from app.projects.record import Member, MemberRecord
from app.projects.service import ProjectService

MEMBERS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of changed members; see `MemberService.forget`."""
_BELIEVED_SECONDS: Final = 30.0
_PEOPLE_MAX: Final = 10_000


class MemberService:
    """Every method that needs it raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, projects: ProjectService, people: PeopleService, clock: Clock = utc_now) -> None:
        self._db = db
        self._projects = projects
        self._people = people
        self._clock = clock
        self._roles: Remembered[str, Mapping[str, Role]] = Remembered(_BELIEVED_SECONDS, _PEOPLE_MAX)

    async def roles_of(self, user_id: str) -> Mapping[str, Role]:
        """Return what a person is in each project that they are in, by project id; empty for an unknown person.

        In an archived project everybody is a viewer. It costs no I/O while it is known, for up to 30 seconds.
        """

        async def read() -> Mapping[str, Role]:
            async with self._db.transaction() as tx:
                return MappingProxyType(await repository.list_roles(tx, user_id))

        return await self._roles.get(user_id, read)

    def forget(self, user_id: str) -> None:
        """Forget the roles of one person, or of everybody when *user_id* is empty."""
        self._roles.forget(lambda known, _: not user_id or known == user_id)

    def forget_project(self, _: str) -> None:
        """Forget everybody's roles, as one of their projects may have been archived."""
        self.forget("")

    async def list_members(self, project_id: str, paging: Paging) -> Page[Member]:
        """Return a page of a project's people, in the order in which they came; raises NotFound, InvalidRequest."""
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            after = None
            if paging.after is not None:
                after = await repository.find_member(tx, project_id, paging.after)
                if after is None:
                    raise InvalidRequest(
                        "Invalid value for 'after': nobody in this project has this id.", param="after"
                    )
            page = Page.of(await repository.list_members(tx, project_id, paging, after), paging.limit)
        return Page(await self._with_people(page.items), page.has_more)

    async def find_callers(self, project_id: str) -> tuple[str, ...] | None:
        """Return the ids of the people who may make calls for a project, None for an archived one; raises NotFound."""
        if (await self._projects.get(project_id)).archived_at is not None:
            return None
        roles = [role for role, rights in PROJECT_RIGHTS.items() if "call" in rights]
        async with self._db.transaction() as tx:
            return tuple(await repository.list_with_roles(tx, project_id, roles))

    async def get(self, project_id: str, user_id: str) -> Member:
        """Return one person in a project; raises NotFound."""
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            member = await self._get(tx, project_id, user_id)
        return (await self._with_people([member]))[0]

    async def create(self, project_id: str, user_id: str | None, email: str | None, role: Role) -> Member:
        """Put a person, given by id or e-mail address, into a project; raises NotFound, InvalidRequest."""
        person = await self._find_person(user_id, email)
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            if await repository.find_member(tx, project_id, person.id) is not None:
                raise InvalidRequest(
                    "This person is in the project already: update the role instead.",
                    param="email" if user_id is None else "user_id",
                )
            member = await self.add(tx, project_id, person.id, role)
        self.forget(person.id)
        return Member(member, person)

    async def add(self, tx: Transaction, project_id: str, user_id: str, role: Role) -> MemberRecord:
        """Put a person who is not in it into a project that is open, as a part of *tx*."""
        member = MemberRecord(project_id, user_id, role, self._clock())
        await repository.create_member(tx, member)
        await record(tx, "user.added", user_id, project_id=project_id, details={"data": {"role": role}})
        return member

    async def assign(self, tx: Transaction, user_id: str, roles: Mapping[str, Role | None]) -> None:
        """Make of a person what *roles* say, in each project, None for nobody, as a part of *tx*; all must be open."""
        for project_id, role in roles.items():
            member = await repository.find_member(tx, project_id, user_id, lock=True)
            if role is None:
                await self._remove(tx, user_id, project_id)
            elif member is None:
                await self.add(tx, project_id, user_id, role)
            elif member.role != role:
                await self._update(tx, project_id, user_id, role)

    async def update(self, project_id: str, user_id: str, role: Role, if_match: str | None = None) -> Member:
        """Give a person another role in a project.

        Raises NotFound, PreconditionFailed, InvalidRequest for an archived project.
        """
        async with self._db.transaction() as tx:
            await self._projects.require_open(tx, project_id)
            member = await self._get(tx, project_id, user_id, lock=True)
            require_meant(if_match, member)
            await self._update(tx, project_id, user_id, role)
        self.forget(user_id)
        return (await self._with_people([member._replace(role=role)]))[0]

    async def delete(self, project_id: str, user_id: str, if_match: str | None = None) -> None:
        """Take a person out of a project: their keys in it stop working within a second.

        Raises NotFound, PreconditionFailed.
        """
        async with self._db.transaction() as tx:
            await self._projects.require(tx, project_id)
            require_meant(if_match, await self._get(tx, project_id, user_id, lock=True))
            await self._remove(tx, user_id, project_id)
        self.forget(user_id)

    async def remove_everywhere(self, tx: Transaction, user_id: str) -> None:
        """Take a person out of every project, as a part of *tx*; their keys stop working within a second."""
        await self._remove(tx, user_id, None)

    async def _update(self, tx: Transaction, project_id: str, user_id: str, role: Role) -> None:
        await repository.update_role(tx, project_id, user_id, role)
        details = {"changes_requested": {"role": role}}
        await record(tx, "user.updated", user_id, project_id=project_id, details=details)

    async def _remove(self, tx: Transaction, user_id: str, project_id: str | None) -> None:
        for left in await repository.delete_member(tx, user_id, project_id):
            await record(tx, "user.deleted", user_id, project_id=left)

    async def _get(self, tx: Transaction, project_id: str, user_id: str, *, lock: bool = False) -> MemberRecord:
        member = await repository.find_member(tx, project_id, user_id, lock=lock)
        if member is None:
            raise NotFound(f"There is nobody with the id '{user_id}' in this project.", param="user_id")
        return member

    async def _find_person(self, user_id: str | None, email: str | None) -> UserRecord:
        if user_id is None and email is None:
            raise MissingParameter("user_id")
        by_id = None if user_id is None else await self._people.find(user_id)
        by_email = None if email is None else await self._people.find_by_email(email)
        person, param = (by_email, "email") if user_id is None else (by_id, "user_id")
        if person is None:
            raise NotFound("There is no such person in the organization: invite them first.", param=param)
        if email is not None and by_email != person:
            raise InvalidRequest("Invalid value for 'email': it is not the address of 'user_id'.", param="email")
        return person

    async def _with_people(self, members: Sequence[MemberRecord]) -> list[Member]:
        people = await self._people.find_many({member.user_id for member in members})
        return [Member(member, people.get(member.user_id)) for member in members]
