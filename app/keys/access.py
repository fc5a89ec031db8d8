"""Who may call a route: the meaning of the words in the table of `app/routes.py`. Pure; whatever is not allowed raises.

A project is hidden from a caller who has no role in it: the answer is the same as for one that does not exist.
"""

from collections.abc import Mapping
from typing import Final, Literal

from app.errors import Forbidden, NotFound
from app.identity.roles import PROJECT_RIGHTS, Right, Role
from app.key_errors import AddressNotAllowed
from app.keys.caller import Caller
from app.keys.networks import is_inside
from app.keys.scopes import Scope, is_granted

Access = Literal["public", "any caller", "person", "management", "project caller", "organization", "project", "owner"]
"""What a route demands:

- public: nothing;
- any caller: a key or a signed-in person;
- person: a signed-in person, about themselves;
- management: an admin key or a signed-in person, who see and change what is theirs to see and change;
- project caller: one whose calls a project pays for, an API key or a person who may make calls in it;
- organization: for GET the right to read the organization, for all else the right to change it;
- project: the same, or that right in the project of the path;
- owner: the right to decide who owns the organization.
"""


_NO_API_KEYS: Final = "This needs an admin key (wa-...), or a person who may do it."


def require(caller: Caller, access: Access, method: str, project_id: str | None) -> None:
    """Raise Forbidden or NotFound unless *caller* may use *method* on a route with *access*.

    *project_id* is the project in the path of the route, None where there is none.
    """
    if access in ("public", "any caller"):
        return
    if access == "project caller":
        require_project(caller)
        return
    if access in ("person", "management"):
        _require_kind(caller, access)
        return
    right: Right = "own" if access == "owner" else "read" if method in ("GET", "HEAD") else "write"
    place = project_id if access == "project" else None
    if caller.may(right, place):
        return
    if caller.kind == "api":
        raise Forbidden(_NO_API_KEYS)
    if place is not None and not caller.may("read", place):
        raise NotFound(f"There is no project '{place}'.", param="project_id")
    raise Forbidden(f"Your role does not allow this: it needs the right to {right}.")


def _require_kind(caller: Caller, access: Access) -> None:
    if access == "person" and caller.kind != "person":
        raise Forbidden("This is for people who are signed in: a key has no password and no session.")
    if access == "management" and caller.kind == "api":
        raise Forbidden(_NO_API_KEYS)


def require_scope(caller: Caller, needed: Scope) -> None:
    """Raise Forbidden unless a caller's key may be used for what needs *needed*; people and admin keys always may."""
    if not is_granted(caller.scopes, needed):
        raise Forbidden(
            f"You have insufficient permissions for this operation. Missing scopes: {needed}. "
            "The key is restricted to other scopes."
        )


def require_address(caller: Caller, address: str | None) -> None:
    """Raise AddressNotAllowed where a caller's key is kept to networks that *address* is not in."""
    if caller.networks and not is_inside(address, caller.networks):
        raise AddressNotAllowed(address)


def require_project(caller: Caller) -> Caller:
    """Return *caller* if its calls have a project to pay for them; raises Forbidden."""
    if caller.project_id is None and caller.kind == "person":
        raise Forbidden(
            "A project has to pay for your calls: send the header 'OpenAI-Project' with the id of one in which your "
            "role lets you make calls.",
            param="OpenAI-Project",
        )
    if caller.project_id is None:
        raise Forbidden("An admin key cannot call models, as it belongs to no project. Use an API key (wk-...).")
    return caller


def paying_project(roles: Mapping[str, Role], named: str | None) -> str | None:
    """Return the project that pays for a person's calls: the one *named* by them, or the only one that can be meant.

    None where a person may make no calls in it, or could mean several.
    """
    possible = [project_id for project_id, role in roles.items() if "call" in PROJECT_RIGHTS[role]]
    if named is not None:
        return named if named in possible else None
    return possible[0] if len(possible) == 1 else None
