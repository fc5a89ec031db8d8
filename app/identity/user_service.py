"""The people of the organization: who they are, what they are in it, and that it never is without an owner."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from app.audit.service import record
from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_version
from app.errors import Forbidden, InvalidRequest, NotFound
from app.identity import invite_repository, repository
from app.identity.password_service import PasswordService
from app.identity.person import NewUser, UserRecord
from app.identity.roles import ORGANIZATION_RIGHTS, Role
from app.identity.session_service import SessionService
from app.identity_errors import LastOwner, UserExists


class Projects(NamedTuple):
    """What people have to do with projects, which are another feature's."""

    default_id: str
    """Where people are invited to when nobody says where."""
    is_open: Callable[[Transaction, str], Awaitable[bool]]
    assign: Callable[[Transaction, str, Mapping[str, Role | None]], Awaitable[None]]
    """Makes of a person what is said, by project id, None for nobody; closed projects and others are left alone."""
    leave: Callable[[Transaction, str], Awaitable[None]]
    """Takes a person out of all, with their keys."""


class Editor(NamedTuple):
    """Who changes people: what they are in the organization, and which version (If-Match) of a person they know."""

    role: Role | None
    if_match: str | None = None


class UserService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(
        self,
        db: Database,
        passwords: PasswordService,
        sessions: SessionService,
        projects: Projects,
        clock: Clock,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._sessions = sessions
        self._projects = projects
        self._clock = clock

    async def get(self, user_id: str) -> UserRecord:
        """Return a person; raises NotFound."""
        async with self._db.transaction() as tx:
            return _found(await repository.find_user(tx, user_id))

    async def list_users(self, emails: Sequence[str], paging: Paging) -> Page[UserRecord]:
        """Return a page of people, of those with *emails* if there are any; raises InvalidRequest for `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_place(tx, paging.after)
            if paging.after is not None and after is None:
                raise InvalidRequest("Invalid value for 'after': there is no such user.", param="after")
            return Page.of(await repository.list_users(tx, emails, paging, after), paging.limit)

    async def digest(self, password: str) -> str:
        """Return what to keep of a new password; raises InvalidRequest when it is too short."""
        self._passwords.require_good(password, "password")
        return await self._passwords.digest(password)

    async def create(self, tx: Transaction, new: NewUser) -> UserRecord:
        """Add a person; raises UserExists. `record_added` is to follow in the same transaction."""
        made = UserRecord(new_id("user"), *new[:3], self._clock(), new.password_digest, new.issuer, 1)
        if not await repository.create_user(tx, **made._asdict(), subject=new.subject):
            raise UserExists
        return made

    async def add(self, new: NewUser, projects: Mapping[str, Role | None]) -> UserRecord:
        """Add a person, also to open projects; raises UserExists."""
        async with self._db.transaction() as tx:
            user = await self.create(tx, new)
            await self._projects.assign(tx, user.id, projects)
            await self.record_added(tx, user)
        return user

    async def set_password(self, email: str, password: str) -> None:
        """Replace a person's password, and end their sessions; raises NotFound, and InvalidRequest as `digest` does."""
        digest = await self.digest(password)
        async with self._db.transaction() as tx:
            user = _found(await repository.find_user_by_email(tx, email))
            await repository.update_user(tx, user.id, password_digest=digest)
            await self._sessions.end_all(tx, user.id)
            await record(tx, "user.updated", user.id, details={"changes_requested": {"password": "changed"}})
        self._sessions.forget(user.id)

    async def record_added(self, tx: Transaction, user: UserRecord) -> None:
        """Write to the audit log that *user* was added; late, as everybody else who writes there waits from then on."""
        await record(tx, "user.added", user.id, details={"data": {"email": user.email, "role": user.role}})

    async def update_role(self, user_id: str, role: Role, editor: Editor) -> UserRecord:
        """Change what a person is in the organization.

        Raises NotFound, Forbidden when it takes an owner to do so, LastOwner, PreconditionFailed.
        """
        async with self._db.transaction() as tx:
            user = await self._lock(tx, user_id, editor, role)
            if role == user.role:
                return user
            await repository.update_user(tx, user_id, role=role)
            await record(tx, "user.updated", user_id, details={"changes_requested": {"role": role}})
        self._sessions.forget(user_id)
        return user._replace(role=role, version=user.version + 1)

    async def delete(self, user_id: str, editor: Editor) -> None:
        """Take a person out of the organization, at once: their sessions, keys and other invites stop working.

        Raises what `update_role` does.
        """
        async with self._db.transaction() as tx:
            user = await self._lock(tx, user_id, editor, None)
            invite_ids = await invite_repository.delete_pending(tx, user.email)
            await self._sessions.end_all(tx, user_id)
            await repository.update_user(tx, user_id, disabled_at=self._clock())
            await self._projects.leave(tx, user_id)
            for invite_id in invite_ids:
                await record(tx, "invite.deleted", invite_id)
            await record(tx, "user.deleted", user_id)
        self._sessions.forget(user_id)

    async def _lock(self, tx: Transaction, user_id: str, editor: Editor, after: Role | None) -> UserRecord:
        """Return the person, whom nobody else changes now, if *editor* may make *after* of their role."""
        # In the order in which the identity provider's tokens lock them, so that nobody waits in a circle.
        user = _found(await repository.find_user(tx, user_id, lock=True))
        owners = await repository.count_owners_exclusively(tx)
        require_may_assign(editor.role, user.role, after)
        require_version(editor.if_match, user.version, "user")
        if user.role == "owner" != after and owners == 1:
            raise LastOwner
        return user


def require_may_assign(editor: Role | None, *roles: Role | None) -> None:
    """Raise Forbidden unless *editor* may make somebody one of these, or somebody else of who is one of these."""
    if "owner" in roles and (editor is None or "own" not in ORGANIZATION_RIGHTS[editor]):
        raise Forbidden("Only an owner decides who is an owner of the organization.")


def _found(user: UserRecord | None) -> UserRecord:
    if user is None:
        raise NotFound("There is no user with this id.", param="user_id")
    return user
