"""A project's page of a list that has others' objects in it, page by page of the upstream."""

from typing import Any

import pytest

from app.gateway.owned_page import PageQuery, PageScan
from app.ownership_errors import ListTooLong


def page_of(*numbers: int, has_more: bool) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": f"c_{number}"} for number in numbers], "has_more": has_more}


def scan(query: str, *pages: dict[str, Any], pages_max: int = 50) -> PageScan:
    """Go through *pages* of one upstream, where even numbers are the project's."""
    scan, left = PageScan(PageQuery.of(query), pages_max), iter(pages)
    scan.begin()
    while scan.wants_more:
        ids = scan.take(next(left))
        scan.keep({each for each in ids if int(each[2:]) % 2 == 0})
    return scan


def ids(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page["data"]]


def test_a_page_is_filled_from_as_many_pages_as_it_takes() -> None:
    page = scan(
        "limit=2", page_of(1, 2, has_more=True), page_of(3, 5, has_more=True), page_of(6, 8, has_more=True)
    ).page()

    assert ids(page) == ["c_2", "c_6"]
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("c_2", "c_6", True)


def test_there_is_no_more_when_only_others_have_some() -> None:
    page = scan("limit=2", page_of(2, 4, has_more=True), page_of(5, 7, has_more=False)).page()

    assert ids(page) == ["c_2", "c_4"]
    assert page["has_more"] is False


def test_an_empty_list_has_no_ends() -> None:
    page = scan("", page_of(1, 3, has_more=False)).page()

    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_a_page_of_nothing_tells_whether_there_is_anything() -> None:
    page = scan("limit=0", page_of(1, has_more=True), page_of(2, 3, has_more=True)).page()
    assert (page["data"], page["has_more"]) == ([], True)

    page = scan("limit=0", page_of(1, 3, has_more=False)).page()
    assert (page["data"], page["has_more"]) == ([], False)


def test_the_upstream_is_asked_for_large_pages_with_everything_else_that_was_asked() -> None:
    first = PageScan(PageQuery.of("limit=2&model=m&metadata[a]=b%20c&order=desc&after=c_0"), 50)
    first.begin()

    assert first.query() == "model=m&metadata%5Ba%5D=b+c&order=desc&after=c_0&limit=100"
    first.take(page_of(1, 2, has_more=True))
    assert first.query().endswith("after=c_2&limit=100")


def test_the_next_upstream_is_asked_from_its_beginning() -> None:
    both = scan("after=c_0", page_of(2, has_more=False))
    both.begin()

    assert "after" not in both.query()
    assert both.wants_more
    both.keep(set(both.take(page_of(4, has_more=False))))
    assert ids(both.page()) == ["c_2", "c_4"]


def test_a_search_that_is_given_up_is_honest_about_it() -> None:
    others = [page_of(number, has_more=True) for number in (1, 3, 5)]
    with pytest.raises(ListTooLong):
        scan("", *others, pages_max=3).page()
    found = scan("", page_of(2, has_more=True), *others, pages_max=4).page()
    assert (ids(found), found["has_more"]) == (["c_2"], True)


@pytest.mark.parametrize("page", [{}, {"data": None, "has_more": True}, {"data": ["x", {"id": 5}], "has_more": True}])
def test_what_is_no_page_is_an_end(page: dict[str, Any]) -> None:
    assert scan("", page).page()["data"] == []
