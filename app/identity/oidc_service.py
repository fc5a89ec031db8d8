"""People whom an identity provider vouches for: its tokens are theirs, and say what they are.

A person is known by the provider's subject. One who is known by e-mail address only is linked to a subject once, and
only by an address that the provider has verified.
"""

import hashlib
from typing import Final

from app.audit.service import record
from app.core.actor import acting
from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.core.remembered import Remembered
from app.errors import Unauthenticated
from app.identity import jwt, repository
from app.identity.claims import Claims, read_claims
from app.identity.person import NewUser, Person
from app.identity.provider_key_service import ProviderKeyService
from app.identity.repository import KnownUser
from app.identity.user_service import Projects, UserService
from app.identity_errors import UserExists
from app.setting_groups import Oidc as OidcSettings

_REMEMBERED_SECONDS: Final = 30.0
_REMEMBERED_MAX: Final = 10_000


class OidcService:
    """The people of one provider. Raises DatabaseUnavailable when PostgreSQL is needed and away or too busy."""

    def __init__(
        self,
        db: Database,
        users: UserService,
        keys: ProviderKeyService,
        projects: Projects,
        settings: OidcSettings,
        clock: Clock,
    ) -> None:
        assert settings.issuer is not None, "made only when it is set"  # noqa: S101 - narrows the type
        assert settings.audience is not None, "checked by the settings"  # noqa: S101
        self.issuer = settings.issuer
        self._expected = jwt.Expected(settings.issuer, settings.audience)
        self._db = db
        self._users = users
        self._keys = keys
        self._projects = projects
        self._settings = settings
        self._clock = clock
        self._known: Remembered[str, KnownUser | None] = Remembered(_REMEMBERED_SECONDS, _REMEMBERED_MAX)

    async def authenticate(self, token: str) -> Person:
        """Return whose token this is.

        Raises Unauthenticated, the same for every reason, or Unavailable when the provider's keys cannot be fetched.
        """
        try:
            keys = await self._keys.list_for(jwt.read_header(token))
            said = read_claims(jwt.verify(token, keys, self._expected, self._clock()), self._settings)
        except jwt.InvalidToken:
            raise Unauthenticated from None
        user = await self._known.get(said.subject, lambda: self._sign_in(said))
        if user is not None and _is_newer(said, user):
            self.forget(user.id)
            user = await self._known.get(said.subject, lambda: self._sign_in(said))
        if user is None or (user.signed_out_at is not None and said.issued_at < user.signed_out_at):
            raise Unauthenticated
        return self._person(user, said)

    def _person(self, user: KnownUser, said: Claims) -> Person:
        # One for all their tokens: who looks at the bill or the audit log sees one person, not one session an hour.
        digest = hashlib.sha256(f"{self.issuer}\n{said.subject}".encode()).hexdigest()[:32]
        return Person(f"sess_{digest}", user.id, user.email, user.role, said.expires_at)

    async def _sign_in(self, said: Claims) -> KnownUser | None:
        """Return the person, made or linked if need be; the newest token that was seen decides what they are."""
        async with self._db.transaction() as tx:
            email = said.email if said.is_email_verified else None
            user = await repository.find_known(tx, self.issuer, said.subject, email)
            if user is None and self._settings.provision and said.email is not None:
                user = await self._provision(tx, said, said.email)
            if user is None or user.disabled_at is not None:
                details = {"email": said.email, "error_code": "unknown_person"}
                await record(tx, "login.failed", user and user.id, details=details)
                return None
            if not _is_newer(said, user):
                return user
            return await self._apply(tx, user, said)

    async def _provision(self, tx: Transaction, said: Claims, email: str) -> KnownUser | None:
        is_believed = said.is_email_verified or self._settings.provision_unverified_email
        if not is_believed or await repository.was_deleted(tx, email):
            return None
        new = NewUser(email, said.name or email, said.role or "member", None, self.issuer, said.subject)
        try:
            user = await self._users.create(tx, new)
        except UserExists:  # the address is that of somebody whom the provider has not vouched for
            return None
        await self._users.record_added(tx, user)
        return KnownUser(user.id, email, user.role, None, None, None, is_linked=True)

    async def _apply(self, tx: Transaction, user: KnownUser, said: Claims) -> KnownUser:
        role = said.role or user.role
        if user.role == "owner" != role and await repository.count_owners_exclusively(tx) == 1:
            role = "owner"  # the organization must keep one, whatever the provider says
        link = {} if user.is_linked else {"issuer": self.issuer, "subject": said.subject}
        await repository.update_user(tx, user.id, claimed_at=said.issued_at, role=role, **link)
        await self._projects.assign(tx, user.id, said.project_roles)
        acting.set(acting.get()._replace(user_id=user.id, email=user.email))
        if role != user.role:
            await record(tx, "user.updated", user.id, details={"changes_requested": {"role": role}})
        await record(tx, "login.succeeded", user.id)
        return user._replace(role=role, claimed_at=said.issued_at, is_linked=True)

    def forget(self, subject_id: str) -> None:
        """Forget one person by id, or everybody when *subject_id* is empty."""
        self._known.forget(lambda _, user: subject_id == "" or user is None or user.id == subject_id)


def _is_newer(said: Claims, user: KnownUser) -> bool:
    return user.claimed_at is None or said.issued_at > user.claimed_at
