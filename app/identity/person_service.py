"""Who is signed in: asked for every token of a person, Weir's own or the identity provider's."""

from app.errors import Unauthenticated
from app.identity.access_tokens import ISSUER
from app.identity.jwt import InvalidToken, read_header
from app.identity.oidc_service import OidcService
from app.identity.person import Person
from app.identity.session_service import SessionService


class PersonService:
    """Both kinds of tokens; the issuer that a token claims only decides who checks it."""

    def __init__(self, sessions: SessionService, oidc: OidcService | None) -> None:
        self._sessions = sessions
        self._oidc = oidc

    async def authenticate(self, token: str) -> Person:
        """Return whose token this is; raises Unauthenticated, or Unavailable when that cannot be found out now."""
        try:
            issuer = read_header(token).issuer
        except InvalidToken:
            raise Unauthenticated from None
        if issuer == ISSUER:
            return await self._sessions.authenticate(token)
        if self._oidc is not None and issuer == self._oidc.issuer:
            return await self._oidc.authenticate(token)
        raise Unauthenticated

    def forget(self, subject_id: str) -> None:
        """Forget a session or a person by id, or all of them when *subject_id* is empty."""
        self._sessions.forget(subject_id)
        if self._oidc is not None:
            self._oidc.forget(subject_id)
