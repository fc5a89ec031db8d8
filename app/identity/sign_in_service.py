"""Signing in with a password, and changing it. An unknown account gets the same answer as a wrong password, as late."""

from typing import Final

from app.audit.service import record
from app.core.actor import acting
from app.core.background import keep_purged
from app.core.db import Database
from app.errors import Forbidden
from app.identity import repository
from app.identity.attempts_service import AttemptsService
from app.identity.password_service import PasswordService
from app.identity.person import SignedIn, UserRecord
from app.identity.session_service import SessionService
from app.identity_errors import InvalidGrant, TooManySignIns

_PURGE_SECONDS: Final = 600.0


class SignInService:
    """Raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(
        self, db: Database, passwords: PasswordService, attempts: AttemptsService, sessions: SessionService
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._attempts = attempts
        self._sessions = sessions

    async def sign_in(self, email: str, password: str) -> SignedIn:
        """Return tokens for who has this e-mail address and password; raises InvalidGrant, TooManySignIns."""
        user = await self._require_password(email, password)
        async with self._db.transaction() as tx:
            same = await repository.find_user(tx, user.id, lock=True)
            # Meanwhile it may have been deleted, or its password changed.
            if same is not None and same.password_digest == user.password_digest:
                signed_in = await self._sessions.open(tx, same)
                await self._attempts.succeeded(tx, email, acting.get().address)
                await record(tx, "login.succeeded", user.id)
                return signed_in
        raise InvalidGrant

    async def change_password(self, user_id: str, session_id: str, current: str, new: str) -> None:
        """Replace a person's password, and end their other sessions.

        Raises InvalidGrant when *current* is not right, InvalidRequest for a new one that is too short, Forbidden for
        who has none, TooManySignIns after too many attempts.
        """
        self._passwords.require_good(new, "new_password")
        async with self._db.transaction() as tx:
            user = await repository.find_user(tx, user_id)
        if user is None or user.password_digest is None:
            raise Forbidden("You have no password here: you sign in with your identity provider.")
        known = await self._require_password(user.email, current)
        digest = await self._passwords.digest(new)
        async with self._db.transaction() as tx:
            same = await repository.find_user(tx, user_id, lock=True)
            # Meanwhile they may have been deleted, or their password changed.
            if same is None or same.password_digest != known.password_digest:
                raise InvalidGrant
            await repository.update_user(tx, user_id, password_digest=digest)
            await self._sessions.end_all(tx, user_id, keep=session_id)
            await self._attempts.succeeded(tx, user.email, acting.get().address)
            await record(tx, "user.updated", user_id, details={"changes_requested": {"password": "changed"}})
        self._sessions.forget(user_id)

    async def keep_purged(self) -> None:
        """Delete sessions and attempts that are over, now and every ten minutes, until cancelled."""
        await keep_purged(self._purge, _PURGE_SECONDS, failed="sessions_not_purged")

    async def _purge(self) -> None:
        async with self._db.transaction() as tx:
            await self._sessions.purge(tx)
            await self._attempts.purge(tx)

    async def _require_password(self, email: str, password: str) -> UserRecord:
        """Return the person; every attempt is counted before it is known whether it is right, and failures written."""
        try:
            await self._attempts.admit(email, acting.get().address)
        except TooManySignIns as error:
            if error.is_first:
                await self._write_failure(None, email, error.code)
            raise
        async with self._db.transaction() as tx:
            user = await repository.find_user_by_email(tx, email)
        is_right = await self._passwords.is_right(password, user.password_digest if user else None)
        if user is None or not is_right:
            await self._write_failure(user and user.id, email, InvalidGrant.code)
            raise InvalidGrant
        return user

    async def _write_failure(self, user_id: str | None, email: str, code: str) -> None:
        async with self._db.transaction() as tx:
            await record(tx, "login.failed", user_id, details={"email": email, "error_code": code})
