"""Roles in the organization as OpenAI's API names them: its `reader` is Weir's member. Pure."""

from typing import Final, Literal

from app.identity.roles import ORGANIZATION_RIGHTS, Role

RoleName = Literal["owner", "admin", "member", "viewer", "reader"]

DESCRIPTIONS: Final[dict[Role, str]] = {
    "owner": "Changes everything, and decides who is an owner.",
    "admin": "Changes everything but who is an owner.",
    "member": "Has what their roles in projects allow. OpenAI calls it reader.",
    "viewer": "Sees everything, and changes nothing.",
}
_ID: Final = "role_"


def role_of(name: RoleName) -> Role:
    """Return the role that a client means."""
    return "member" if name == "reader" else name


def name_of(role: Role) -> RoleName:
    """Return what OpenAI calls a role, as far as it knows it."""
    return "reader" if role == "member" else role


def id_of(role: Role) -> str:
    """Return the id of a role in OpenAI's list of roles."""
    return f"{_ID}{role}"


def find_role(role_id: str) -> Role | None:
    """Return the role with this id."""
    return next((role for role in DESCRIPTIONS if id_of(role) == role_id), None)


def permissions_of(role: Role) -> list[str]:
    """Return what a role allows in the organization, as OpenAI writes permissions."""
    return sorted(f"organization.{right}" for right in ORGANIZATION_RIGHTS[role])
