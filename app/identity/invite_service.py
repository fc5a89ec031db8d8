"""Invites: whoever has an invite's token becomes a person of the organization, with the role that the invite says.

Weir sends no mail: who invites passes the token on. It is shown once and kept as a digest.
"""

import hashlib
import secrets
from datetime import datetime, timedelta

from app.audit.service import record
from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import new_id
from app.core.pagination import Page, Paging
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, NotFound
from app.identity import invite_repository as repository
from app.identity import repository as users
from app.identity.invite import InviteRecord, NewInvite
from app.identity.person import NewUser, SignedIn
from app.identity.roles import Role
from app.identity.session_service import SessionService
from app.identity.user_service import Editor, Projects, UserService, require_may_assign
from app.identity_errors import InvalidInvite, InviteAccepted, UserExists
from app.setting_groups import Identity as IdentitySettings


class InviteService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(
        self,
        db: Database,
        users: UserService,
        sessions: SessionService,
        projects: Projects,
        settings: IdentitySettings,
        clock: Clock,
    ) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions
        self._projects = projects
        self._settings = settings
        self._clock = clock

    async def create(self, new: NewInvite, editor: Editor) -> tuple[InviteRecord, str]:
        """Invite somebody; return the invite, and its token, which cannot be read again.

        Raises Forbidden when it takes an owner to do so, UserExists, InvalidRequest for a project that is not there.
        """
        require_may_assign(editor.role, new.role)
        projects = self._default(new.role) if new.projects is None else new.projects
        now, token = self._clock(), f"wi-{secrets.token_urlsafe(32)}"
        expires_at = now + timedelta(seconds=self._settings.invite_seconds)
        chosen = [{"id": project_id, "role": role} for project_id, role in projects.items()]
        invite = InviteRecord(new_id("invite"), new.email, new.role, chosen, now, expires_at, None)
        async with self._db.transaction() as tx:
            if await users.find_user_by_email(tx, new.email) is not None:
                raise UserExists
            for project_id in projects:
                if new.projects is not None and not await self._projects.is_open(tx, project_id):
                    raise InvalidRequest("Invalid value for 'projects': there is no such project.", param="projects")
            await repository.create_invite(tx, invite, _digest(token))
            data = {"email": new.email, "role": new.role, "projects": chosen}
            await record(tx, "invite.sent", invite.id, details={"data": data})
        return invite, token

    def _default(self, role: Role) -> dict[str, Role]:
        return {self._projects.default_id: "viewer" if role == "viewer" else "member"}

    async def accept(self, token: str, name: str, password: str) -> SignedIn:
        """Make a person of who has *token*, and sign them in.

        Raises InvalidInvite, UserExists, and InvalidRequest for a password that is too short.
        """
        digest, now = _digest(token), self._clock()
        async with self._db.transaction() as tx:
            _require_pending(await repository.find_invite_by_digest(tx, digest), now)
        password_digest = await self._users.digest(password)
        async with self._db.transaction() as tx:
            invite = _require_pending(await repository.find_invite_by_digest(tx, digest), now)
            user = await self._users.create(tx, NewUser(invite.email, name, invite.role, password_digest))
            signed_in = await self._sessions.open(tx, user)
            await repository.mark_accepted(tx, invite.id, user.id, now)
            await self._projects.assign(tx, user.id, {each["id"]: each["role"] for each in invite.projects})
            await self._users.record_added(tx, user)
            await record(tx, "invite.accepted", invite.id)
            await record(tx, "login.succeeded", user.id)
        return signed_in

    async def get(self, invite_id: str) -> InviteRecord:
        """Return an invite; raises NotFound."""
        async with self._db.transaction() as tx:
            return _found(await repository.find_invite(tx, invite_id))

    async def list_invites(self, paging: Paging) -> Page[InviteRecord]:
        """Return a page of invites; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_invite(tx, paging.after)
            if paging.after is not None and after is None:
                raise InvalidRequest("Invalid value for 'after': there is no such invite.", param="after")
            return Page.of(await repository.list_invites(tx, paging, after), paging.limit)

    async def delete(self, invite_id: str, if_match: str | None = None) -> None:
        """Take an invite back; raises NotFound, InviteAccepted, PreconditionFailed."""
        async with self._db.transaction() as tx:
            invite = _found(await repository.find_invite(tx, invite_id, lock=True))
            require_meant(if_match, invite.facts(self._clock()))
            if invite.accepted_at is not None:
                raise InviteAccepted
            await repository.delete_invite(tx, invite_id)
            await record(tx, "invite.deleted", invite_id)


def _digest(token: str) -> bytes:
    """Return the SHA-256 of an invite's token, which has too much entropy to need more."""
    return hashlib.sha256(token.encode()).digest()


def _require_pending(invite: InviteRecord | None, now: datetime) -> InviteRecord:
    if invite is None or invite.status(now) != "pending":
        raise InvalidInvite
    return invite


def _found(invite: InviteRecord | None) -> InviteRecord:
    if invite is None:
        raise NotFound("There is no invite with this id.", param="invite_id")
    return invite
