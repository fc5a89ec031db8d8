"""Sessions: opened by signing in, kept open by refresh tokens, ended on every replica within a second.

The access token of a session that is known is checked without any I/O. A refresh token works once: one that is used
again was stolen, or its successor was, so it ends its session (RFC 9700, section 4.14).
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

from app.audit.service import record
from app.core.actor import acting
from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.remembered import Remembered
from app.errors import Unauthenticated
from app.identity import repository as users
from app.identity import session_repository as repository
from app.identity.access_tokens import AccessTokens
from app.identity.jwt import InvalidToken
from app.identity.person import Person, SignedIn, UserRecord
from app.identity_errors import InvalidGrant
from app.setting_groups import Identity as IdentitySettings

PEOPLE_CHANGED: Final = users.CHANNEL
"""The channel on which every process hears of people and sessions that changed; see `SessionService.forget`."""
_REMEMBERED_SECONDS: Final = 30.0
_KEPT_AFTER_END: Final = timedelta(days=1)


class SessionService:
    """Raises DatabaseUnavailable when something is not in memory and PostgreSQL is away or too busy."""

    def __init__(self, db: Database, tokens: AccessTokens, settings: IdentitySettings, clock: Clock) -> None:
        self._db = db
        self._tokens = tokens
        self._settings = settings
        self._clock = clock
        self._known: Remembered[str, Person | None] = Remembered(_REMEMBERED_SECONDS, settings.sessions_remembered_max)

    async def authenticate(self, token: str) -> Person:
        """Return whose access token this is; raises Unauthenticated, the same for every reason."""
        now = self._clock()
        try:
            session_id = self._tokens.read(token, now)
        except InvalidToken:
            raise Unauthenticated from None
        person = await self._known.get(session_id, lambda: self._find(session_id))
        if person is None or person.expires_at <= now:
            raise Unauthenticated
        return person

    async def _find(self, session_id: str) -> Person | None:
        async with self._db.transaction() as tx:
            return await repository.find_person(tx, session_id)

    async def open(self, tx: Transaction, user: UserRecord) -> SignedIn:
        """Begin a session of *user*, who is the one who acts from here on."""
        now = self._clock()
        expires_at = now + timedelta(seconds=self._settings.session_seconds)
        person = Person(new_id("sess"), user.id, user.email, user.role, expires_at)
        _act_as(person)
        await repository.create_session(tx, person, now)
        return await self._issue(tx, person, now)

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Return new tokens for a refresh token, which does not work any more; raises InvalidGrant."""
        digest, now = _digest(refresh_token), self._clock()
        async with self._db.transaction() as tx:
            use = await repository.find_use(tx, digest)
            if use is not None and use.used_at is not None:
                await self._end_stolen(tx, use.person, now)
            elif use is not None and min(use.expires_at, use.person.expires_at) > now:
                await repository.mark_used(tx, digest, now)
                return await self._issue(tx, use.person, now)
        raise InvalidGrant

    async def _issue(self, tx: Transaction, person: Person, now: datetime) -> SignedIn:
        refresh_token = f"wr-{secrets.token_urlsafe(32)}"
        lifetime = timedelta(seconds=self._settings.refresh_token_seconds)
        expires_at = min(now + lifetime, person.expires_at)
        await repository.create_refresh_token(tx, _digest(refresh_token), person.session_id, expires_at)
        access_token = self._tokens.issue(person.session_id, person.user_id, now)
        return SignedIn(access_token, self._tokens.lifetime_seconds, refresh_token)

    async def _end_stolen(self, tx: Transaction, person: Person, now: datetime) -> None:
        _act_as(person)
        await repository.end_sessions(tx, now, session_id=person.session_id)
        await users.notify(tx, person.session_id)
        details = {"error_code": "refresh_token_reused", "error_message": "The session was ended."}
        await record(tx, "login.failed", person.user_id, details=details)
        self.forget(person.session_id)

    async def end(self, user_id: str, session_id: str) -> None:
        """End one session on every replica, within a second; of the identity provider's, all until now."""
        now = self._clock()
        async with self._db.transaction() as tx:
            if await repository.end_sessions(tx, now, session_id=session_id):
                await users.notify(tx, session_id)
            else:
                await users.update_user(tx, user_id, signed_out_at=now)
            await record(tx, "logout.succeeded", user_id)
        self.forget(session_id)

    async def end_all(self, tx: Transaction, user_id: str, *, keep: str = "") -> None:
        """End every session of a person but the one to *keep*; other processes hear of it when *tx* commits."""
        now = self._clock()
        await repository.end_sessions(tx, now, user_id=user_id, keep=keep)
        await users.update_user(tx, user_id, signed_out_at=now)

    async def sign_out_everywhere(self, user_id: str) -> None:
        """End every session of a person; tokens of the identity provider that were issued before end with them."""
        async with self._db.transaction() as tx:
            await self.end_all(tx, user_id)
            await record(tx, "logout.succeeded", user_id, details={"everywhere": True})
        self.forget(user_id)

    def forget(self, subject_id: str) -> None:
        """Forget one session, or all of one person, by id; every one when *subject_id* is empty."""
        self._known.forget(
            lambda session_id, person: (
                subject_id in ("", session_id) or (person is not None and person.user_id == subject_id)
            )
        )

    async def purge(self, tx: Transaction) -> None:
        """Delete the sessions that ended or expired a day ago."""
        await repository.purge(tx, self._clock() - _KEPT_AFTER_END)


def _act_as(person: Person) -> None:
    acting.set(acting.get()._replace(id=person.session_id, user_id=person.user_id, email=person.email))


def _digest(token: str) -> bytes:
    """Return the SHA-256 of a refresh token, which has too much entropy to need more."""
    return hashlib.sha256(token.encode()).digest()
