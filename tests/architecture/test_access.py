"""Who may call what, written down a second time: for every word of the table, every kind of caller, every method."""

from itertools import product
from typing import Final, get_args

import pytest

from app.errors import Forbidden, NotFound, WeirError
from app.identity.roles import Role
from app.keys.access import Access, require
from app.keys.caller import Caller, CallerKind

MINE, OTHER = "proj_mine", "proj_other"


def caller(
    kind: CallerKind, organization: Role | None = None, mine: Role | None = None, pays: str | None = None
) -> Caller:
    """Return a caller with a role in the organization and one in MINE; nobody has one in OTHER."""
    return Caller(
        key_id="id",
        kind=kind,
        project_id=pays,
        expires_at=None,
        user_id="user_1" if kind == "person" else None,
        organization_role=organization,
        project_roles={} if mine is None else {MINE: mine},
    )


CALLERS: Final = {
    "API key": caller("api", pays=MINE),
    "admin key": caller("admin", "owner"),
    "owner": caller("person", "owner"),
    "admin": caller("person", "admin"),
    "viewer": caller("person", "viewer"),
    "member": caller("person", "member"),
    "nobody's": caller("person"),
    "project owner": caller("person", "member", "owner", MINE),
    "project admin": caller("person", "member", "admin", MINE),
    "project member": caller("person", "member", "member", MINE),
    "project viewer": caller("person", "member", "viewer"),
    "viewer, project owner": caller("person", "viewer", "owner", MINE),
    "viewer, project viewer": caller("person", "viewer", "viewer"),
}
KEYS: Final = {"API key", "admin key"}
PEOPLE: Final = CALLERS.keys() - KEYS
MANAGERS: Final = CALLERS.keys() - {"API key"}
OWNERS: Final = {"admin key", "owner"}
ADMINS: Final = OWNERS | {"admin"}
READERS: Final = ADMINS | {name for name in CALLERS if name.startswith("viewer")}
PROJECT_READERS: Final = {name for name in CALLERS if "project" in name}
PROJECT_ADMINS: Final = {name for name in CALLERS if "project owner" in name} | {"project admin"}
PAYERS: Final = {"API key"} | (PROJECT_READERS - {"project viewer", "viewer, project viewer"})
# They do not even learn whether a project that they are not in exists.
BLIND: Final = PEOPLE - READERS

# Who may, by word, whether it is read only, and the project of the path.
MAY: Final[dict[tuple[Access, bool, str | None], set[str]]] = {
    **{("public", reads, project): set(CALLERS) for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("any caller", reads, project): set(CALLERS) for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("person", reads, project): set(PEOPLE) for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("management", reads, project): set(MANAGERS) for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("project caller", reads, project): PAYERS for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("owner", reads, project): OWNERS for reads in (True, False) for project in (None, MINE, OTHER)},
    **{("organization", True, project): READERS for project in (None, MINE, OTHER)},
    **{("organization", False, project): ADMINS for project in (None, MINE, OTHER)},
    ("project", True, None): READERS,
    ("project", False, None): ADMINS,
    ("project", True, MINE): READERS | PROJECT_READERS,
    ("project", False, MINE): ADMINS | PROJECT_ADMINS,
    ("project", True, OTHER): READERS,
    ("project", False, OTHER): ADMINS,
}
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def refusal(name: str, access: Access, method: str, project_id: str | None) -> WeirError | None:
    try:
        require(CALLERS[name], access, method, project_id)
    except WeirError as error:
        return error
    return None


def test_the_table_says_something_about_every_word() -> None:
    assert {access for access, _, _ in MAY} == set(get_args(Access))
    assert len(MAY) == len(get_args(Access)) * 2 * 3


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("access", get_args(Access))
def test_a_caller_may_exactly_what_the_table_says(name: str, access: Access) -> None:
    for method, project_id in product(METHODS, (None, MINE, OTHER)):
        error = refusal(name, access, method, project_id)
        may = name in MAY[access, method in ("GET", "HEAD"), project_id]
        assert (error is None) == may, (method, project_id, error)


@pytest.mark.parametrize("method", METHODS)
def test_a_project_that_somebody_is_not_in_looks_like_one_that_does_not_exist(method: str) -> None:
    for name in CALLERS:
        other = refusal(name, "project", method, OTHER)
        unknown = refusal(name, "project", method, "proj_unknown")
        assert isinstance(other, NotFound) == (name in BLIND)
        assert str(other).replace(OTHER, "") == str(unknown).replace("proj_unknown", "")


def test_whoever_is_refused_learns_so_by_403_save_for_hidden_projects() -> None:
    for name, (access, reads, project_id) in product(CALLERS, MAY):
        error = refusal(name, access, "GET" if reads else "POST", project_id)
        is_in = project_id == MINE and name in PROJECT_READERS
        is_hidden = access == "project" and project_id is not None and name in BLIND and not is_in
        assert error is None or isinstance(error, NotFound if is_hidden else Forbidden)


def test_what_somebody_is_in_another_project_counts_for_nothing_here() -> None:
    for name in PROJECT_READERS - READERS:
        assert isinstance(refusal(name, "project", "GET", OTHER), NotFound)
        assert isinstance(refusal(name, "organization", "GET", MINE), Forbidden)
        assert isinstance(refusal(name, "owner", "GET", MINE), Forbidden)
