"""The public door: people sign in here, stay signed in, and accept invites. Nothing here needs a key."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form

from app.deps import InvitesDep, SessionsDep, SignInDep
from app.errors import MissingParameter
from app.identity.schemas import InviteAcceptance, TokenForm, Tokens
from app.identity_errors import UnsupportedGrantType
from app.keys.auth import act_as_nobody

router = APIRouter(prefix="/gateway/auth", tags=["Signing in"], dependencies=[Depends(act_as_nobody)])


@router.post("/token", summary="Sign in, or stay signed in")
async def create_token(form: Annotated[TokenForm, Form()], sign_in: SignInDep, sessions: SessionsDep) -> Tokens:
    """Give tokens for an e-mail address and a password, or for a refresh token (RFC 6749, sections 4.3 and 6).

    A refresh token works once: using it again ends the session (RFC 9700, section 4.14).
    """
    if form.grant_type == "refresh_token":
        return Tokens.of(await sessions.refresh(_given(form.refresh_token, "refresh_token")))
    if form.grant_type == "password":
        email, password = _given(form.username, "username"), _given(form.password, "password")
        return Tokens.of(await sign_in.sign_in(email, password))
    raise UnsupportedGrantType


@router.post("/invites/accept", summary="Accept an invite")
async def accept_invite(body: InviteAcceptance, invites: InvitesDep) -> Tokens:
    """Become a person of this organization: with the invite's e-mail address and role, and a password of your own.

    You are signed in right away.
    """
    return Tokens.of(await invites.accept(body.token, body.name, body.password))


def _given(value: str | None, param: str) -> str:
    if value is None:
        raise MissingParameter(param)
    return value
