"""What people may do: by their role in the organization, and by their role in each project. Pure."""

from collections.abc import Mapping
from typing import Final, Literal

Role = Literal["owner", "admin", "member", "viewer"]
Right = Literal["read", "write", "own", "call"]
"""See; change; decide who owns; make calls that cost money."""

ORGANIZATION_RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    "owner": frozenset({"read", "write", "own"}),
    "admin": frozenset({"read", "write"}),
    "member": frozenset(),
    "viewer": frozenset({"read"}),
}
"""What a role in the organization allows everywhere. A member has what its projects allow; a viewer reads the bill."""

PROJECT_RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    "owner": frozenset({"read", "write", "call"}),
    "admin": frozenset({"read", "write", "call"}),
    "member": frozenset({"read", "call"}),
    "viewer": frozenset({"read"}),
}
"""What a role in a project allows inside it."""

_STRENGTHS: Final[tuple[Role, ...]] = ("viewer", "member", "admin", "owner")


def merged(*roles: Mapping[str, Role]) -> dict[str, Role]:
    """Return roles in projects, by project id: where several say something of one project, the strongest."""
    strongest: dict[str, Role] = {}
    for project_id, role in (each for mapping in roles for each in mapping.items()):
        strongest[project_id] = max(role, strongest.get(project_id, role), key=_STRENGTHS.index)
    return strongest
