"""The words in the table of routes, for every kind of caller."""

from typing import Any, get_args

import pytest

from app.errors import Forbidden, NotFound, WeirError
from app.keys.access import Access, paying_project, require, require_project
from app.keys.caller import Caller


def person(organization: Any, **projects: Any) -> Caller:
    return Caller("sess_1", "person", None, None, "user_1", organization, projects)


CALLERS = {
    "api key": Caller("key_1", "api", "proj_1", None),
    "admin key": Caller("key_2", "admin", None, None, organization_role="owner"),
    "owner": person("owner"),
    "admin": person("admin"),
    "viewer": person("viewer"),
    "member": person("member"),
    "project's owner": person("member", proj_1="owner"),
    "project's member": person("member", proj_1="member"),
    "project's viewer": person("member", proj_1="viewer"),
    "another's owner": person("member", proj_2="owner"),
}
PEOPLE = set(CALLERS) - {"api key", "admin key"}
RULERS = {"admin key", "owner", "admin"}
ADMITTED: dict[Access, tuple[set[str], set[str]]] = {
    "public": (set(CALLERS), set(CALLERS)),
    "any caller": (set(CALLERS), set(CALLERS)),
    "person": (PEOPLE, PEOPLE),
    "management": (set(CALLERS) - {"api key"}, set(CALLERS) - {"api key"}),
    "project caller": ({"api key"}, {"api key"}),
    "organization": (RULERS | {"viewer"}, RULERS),
    "project": (
        RULERS | {"viewer", "project's owner", "project's member", "project's viewer"},
        RULERS | {"project's owner"},
    ),
    "owner": ({"admin key", "owner"}, {"admin key", "owner"}),
}


def test_every_word_is_tested() -> None:
    assert set(ADMITTED) == set(get_args(Access))


@pytest.mark.parametrize("access", get_args(Access))
def test_a_word_admits_whom_it_says(access: Access) -> None:
    readers, writers = ADMITTED[access]
    for name, caller in CALLERS.items():
        for admitted, methods in ((readers, ("GET", "HEAD")), (writers, ("POST", "PATCH", "DELETE"))):
            for method in methods:
                if name in admitted:
                    require(caller, access, method, "proj_1")
                    continue
                with pytest.raises(WeirError) as refused:
                    require(caller, access, method, "proj_1")
                is_hidden = access == "project" and name in {"member", "another's owner"}
                assert type(refused.value) is (NotFound if is_hidden else Forbidden), (name, method)


def test_who_pays_for_a_persons_calls() -> None:
    assert paying_project({"a": "member", "b": "viewer"}, None) == "a"
    assert paying_project({"a": "member", "b": "owner"}, None) is None
    assert paying_project({"a": "member", "b": "owner"}, "b") == "b"
    assert paying_project({"a": "member", "b": "viewer"}, "b") is None
    assert paying_project({"a": "member"}, "c") is None
    assert paying_project({}, None) is None
    with pytest.raises(Forbidden) as refused:
        require_project(CALLERS["owner"])
    assert refused.value.param == "OpenAI-Project"
