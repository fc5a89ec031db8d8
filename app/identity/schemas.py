"""Signing in on the wire: the OAuth2 password flow (RFC 6749, section 4.3), and what a person sees of themselves."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from app.core.shape import Shape
from app.identity.person import (
    EMAIL_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MAX,
    SignedIn,
    normalized_email,
    normalized_name,
)
from app.identity.roles import Role

Email = Annotated[str, StringConstraints(max_length=EMAIL_CHARACTERS_MAX), AfterValidator(normalized_email)]
PersonName = Annotated[str, StringConstraints(max_length=NAME_CHARACTERS_MAX), AfterValidator(normalized_name)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_CHARACTERS_MAX)]
InviteToken = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class TokenForm(Shape):
    """What is sent to sign in; `scope`, `client_id` and other fields of OAuth2 are not looked at."""

    grant_type: Annotated[str, StringConstraints(max_length=64)] = Field(description="`password` or `refresh_token`.")
    username: Email | None = Field(None, description="The e-mail address, with `grant_type=password`.")
    password: Password | None = None
    refresh_token: Annotated[str, StringConstraints(max_length=128)] | None = None


class Tokens(Shape):
    """What signing in gives: an access token for `Authorization: Bearer`, and a refresh token for the next one."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"access_token": "eyJ…", "token_type": "bearer", "expires_in": 600, "refresh_token": "wr-…"}
        }
    )

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - no secret
    expires_in: int = Field(description="Seconds until the access token stops working.")
    refresh_token: str = Field(description="Works once; using it again ends the session.")

    @classmethod
    def of(cls, signed_in: SignedIn) -> "Tokens":
        """Return them as they are sent."""
        seconds = signed_in.expires_in_seconds
        return cls(access_token=signed_in.access_token, expires_in=seconds, refresh_token=signed_in.refresh_token)


class PasswordChange(Shape):
    """A new password for the caller. Their other sessions end."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"current_password": "correct horse battery", "new_password": "staple battery horse"}
        },
    )

    current_password: Password
    new_password: Password


class InviteAcceptance(Shape):
    """What makes an invited person one: the role and the e-mail address are the invite's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"token": "wi-…", "name": "Ada Lovelace", "password": "correct horse battery"}},
    )

    token: InviteToken
    name: PersonName
    password: Password


class Me(Shape):
    """The person who asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "person",
                "id": "user_3c1d",
                "email": "ada@example.com",
                "name": "Ada Lovelace",
                "role": "admin",
                "projects": {"proj_default": "member"},
                "project_id": "proj_default",
                "session_id": "sess_9a7e",
            }
        }
    )

    object: Literal["person"] = "person"
    id: str
    email: str
    name: str
    role: Role
    projects: dict[str, Role] = Field(description="What the person is in each of their projects.")
    project_id: str | None = Field(
        description="The project that pays for calls that are made as this one was: named by the header "
        "`OpenAI-Project`, or the only one in which the person may make calls."
    )
    session_id: str


class Done(Shape):
    """It is done."""

    model_config = ConfigDict(json_schema_extra={"example": {"done": True}})

    done: Literal[True] = True
