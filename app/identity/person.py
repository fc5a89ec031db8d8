"""People as Weir sees them: who signed in, who there is, and what e-mail addresses and names may look like. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from app.identity.roles import Role

PASSWORD_CHARACTERS_MAX: Final = 256
EMAIL_CHARACTERS_MAX: Final = 254  # RFC 5321, with the brackets of a path
NAME_CHARACTERS_MAX: Final = 200
# ASCII only: of two letters that look alike, or become the same in lower case, one could pass for the other.
_EMAIL: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+")
# Neither control characters nor those that turn the direction of text around.
_NAME: Final = re.compile("[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    session_id: str
    user_id: str
    email: str
    role: Role
    expires_at: datetime
    """When the session ends, or the identity provider's token."""


class SignedIn(NamedTuple):
    """What somebody who signed in gets; none of it is stored."""

    access_token: str
    expires_in_seconds: int
    refresh_token: str


class UserRecord(NamedTuple):
    """A person as the organization's list shows them."""

    id: str
    email: str
    name: str
    role: Role
    created_at: datetime
    password_digest: str | None
    issuer: str | None
    version: int
    """Counted up by every change."""


class NewUser(NamedTuple):
    """A person to be added: with a password, or with what an identity provider calls them."""

    email: str
    name: str
    role: Role
    password_digest: str | None = None
    issuer: str | None = None
    subject: str | None = None


def normalized_email(text: str) -> str:
    """Return an e-mail address in the form that it is kept and compared in; raises ValueError, without quoting it."""
    email = text.strip(" ").lower()
    if len(email) > EMAIL_CHARACTERS_MAX or not email.isascii() or not _EMAIL.fullmatch(email):
        raise ValueError("must be an e-mail address in ASCII")
    return email


def normalized_name(text: str) -> str:
    """Return a person's name as it is kept; raises ValueError, without quoting it."""
    name = text.strip()
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise ValueError(f"must have 1 to {NAME_CHARACTERS_MAX} characters, none of them a control character")
    return name
