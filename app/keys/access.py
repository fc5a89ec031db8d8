"""Who may call a route: the meaning of the words in the table of `app/routes.py`. Pure; whatever is not allowed raises.

A project is hidden from a caller who has no role in it: the answer is the same as for one that does not exist.
"""

from typing import Literal

from app.errors import Forbidden, NotFound
from app.identity.roles import ORGANIZATION_RIGHTS, PROJECT_RIGHTS, Right
from app.keys.caller import Caller

Access = Literal["public", "any caller", "project caller", "organization", "project", "owner"]
"""What a route demands:

- public: nothing;
- any caller: a key or a signed-in person;
- project caller: one whose calls a project pays for, an API key or a person who may make calls in it;
- organization: for GET the right to read the organization, for all else the right to change it;
- project: the same, or that right in the project of the path;
- owner: the right to decide who owns the organization.
"""


def require(caller: Caller, access: Access, method: str, project_id: str | None) -> None:
    """Raise Forbidden or NotFound unless *caller* may use *method* on a route with *access*.

    *project_id* is the project in the path of the route, None where there is none.
    """
    if access in ("public", "any caller"):
        return
    if access == "project caller":
        require_project(caller)
        return
    right: Right = "own" if access == "owner" else "read" if method in ("GET", "HEAD") else "write"
    if caller.organization_role is not None and right in ORGANIZATION_RIGHTS[caller.organization_role]:
        return
    if access == "project" and project_id is not None and caller.kind == "person":
        role = caller.project_roles.get(project_id)
        if role is None and not _sees_all(caller):
            raise NotFound(f"There is no project '{project_id}'.", param="project_id")
        if role is not None and right in PROJECT_RIGHTS[role]:
            return
    if caller.kind == "api":
        raise Forbidden("This needs an admin key (wa-...), or a person who may do it.")
    raise Forbidden(f"Your role does not allow this: it needs the right to {right}.")


def require_project(caller: Caller) -> Caller:
    """Return *caller* if its calls have a project to pay for them; raises Forbidden."""
    if caller.project_id is None:
        raise Forbidden("An admin key cannot call models, as it belongs to no project. Use an API key (wk-...).")
    return caller


def _sees_all(caller: Caller) -> bool:
    return caller.organization_role is not None and "read" in ORGANIZATION_RIGHTS[caller.organization_role]
