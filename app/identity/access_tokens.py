"""The access tokens that Weir issues: short-lived, signed with HS256, saying which person in which session. Pure."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

from app.core.crypto import derive_key
from app.identity import jwt

ISSUER: Final = "weir"
_EXPECTED: Final = jwt.Expected(issuer=ISSUER, audience=ISSUER)
_PURPOSE: Final = b"weir access tokens, version 1"


class AccessTokens:
    """Issues tokens with the first of *secrets*, and believes those of all, so that a secret can be replaced."""

    def __init__(self, secrets: Sequence[bytes], lifetime_seconds: int) -> None:
        self._secrets = secrets
        self.lifetime_seconds = lifetime_seconds

    @cached_property
    def _keys(self) -> list[jwt.VerificationKey]:
        return [jwt.hmac_key(secret) for secret in self._secrets]

    def issue(self, session_id: str, user_id: str, now: datetime) -> str:
        """Return a token for a person in a session, good from *now* on."""
        issued = int(now.timestamp())
        claims = {"iss": ISSUER, "aud": ISSUER, "sub": user_id, "sid": session_id, "iat": issued}
        return jwt.sign({**claims, "exp": issued + self.lifetime_seconds}, self._keys[0])

    def read(self, token: str, now: datetime) -> str:
        """Return the id of the session that *token* belongs to; raises InvalidToken."""
        session_id = jwt.verify(token, self._keys, _EXPECTED, now).get("sid")
        if not isinstance(session_id, str):
            raise jwt.InvalidToken("no sid")
        return session_id


def derive_secret(pepper: bytes) -> bytes:
    """Return a secret for tokens made from the pepper of keys, which it does not give away."""
    return derive_key(pepper, _PURPOSE)
