"""What the claims of an identity provider's token say of a person, by the maps in the settings. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from app.identity.person import normalized_email, normalized_name
from app.identity.roles import Role, merged
from app.setting_groups import Oidc as OidcSettings


class Claims(NamedTuple):
    """What is believed of a token that was verified."""

    subject: str
    issued_at: datetime
    expires_at: datetime
    email: str | None
    is_email_verified: bool
    name: str | None
    role: Role | None
    """None when the settings map no value of the token."""
    project_roles: Mapping[str, Role | None]
    """Of the projects in the settings' map: what the person is in each, None for nobody."""


def read_claims(claims: Mapping[str, Any], settings: OidcSettings) -> Claims:
    """Return what *claims*, which `jwt.verify` has returned, say of a person."""
    values = _values(claims, settings.role_claim)
    role = next((role for value, role in settings.role_map.items() if value in values), None)
    managed: dict[str, Role | None] = {each: None for roles in settings.project_map.values() for each in roles}
    projects = (settings.project_map.get(value, {}) for value in _values(claims, settings.project_claim))
    return Claims(
        subject=claims["sub"],
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        email=_text(claims, settings.email_claim, normalized_email),
        is_email_verified=claims.get("email_verified") is True,
        name=_text(claims, settings.name_claim, normalized_name),
        role=role,
        project_roles={**managed, **merged(*projects)},
    )


def _values(claims: Mapping[str, Any], name: str | None) -> list[str]:
    """Return the texts in a claim that is one, or a list of them; `realm_access.roles` is one inside of another."""
    value: Any = claims.get(name) if name is not None else None
    if value is None and name is not None:
        outer, _, inner = name.partition(".")
        container = claims.get(outer)
        value = container.get(inner) if isinstance(container, dict) else None
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, str)]


def _text(claims: Mapping[str, Any], name: str, normalized: Any) -> str | None:
    value = claims.get(name)
    try:
        return str(normalized(value)) if isinstance(value, str) else None
    except ValueError:
        return None
