"""Which paths pass through, what they name, and lists that are kept to one project: the parts that need no server."""

from typing import Any

import orjson
import pytest

from app.gateway.passthrough import PassedPath, PassedPaths, named_in
from app.gateway.passthrough_pages import FilteredList
from app.gateway_settings import Gateway

PATHS = PassedPaths([*Gateway().passthrough, "realtime"], ["threads", "threads/runs", "files/new"])


def found(raw: str) -> PassedPath:
    path = PATHS.find(raw)
    assert path is not None
    return path


@pytest.mark.parametrize(
    ("raw", "collection", "object_id", "rest"),
    [
        ("/files", "files", None, ()),
        ("/files/file-1", "files", "file-1", ()),
        ("/files/file-1/content", "files", "file-1", ("content",)),
        ("/files/a%2Fb%3Fc", "files", "a/b?c", ()),
        ("/files/new/1", "files/new", "1", ()),
        ("/fine_tuning/jobs/ftjob-1/events", "fine_tuning/jobs", "ftjob-1", ("events",)),
        (
            "/fine_tuning/checkpoints/ft:gpt:o::1/permissions",
            "fine_tuning/checkpoints",
            "ft:gpt:o::1",
            ("permissions",),
        ),
        ("/fine_tuning/alpha/graders/run", "fine_tuning/alpha/graders/run", None, ()),
        ("/threads/runs", "threads/runs", None, ()),
        ("/threads/thread_1/runs/run_1", "threads", "thread_1", ("runs", "run_1")),
        ("/videos/characters/c1", "videos/characters", "c1", ()),
    ],
)
def test_a_path_is_a_collection_then_an_id_then_the_rest(
    raw: str, collection: str, object_id: str | None, rest: tuple[str, ...]
) -> None:
    path = found(raw)
    assert path == PassedPath(raw, collection, object_id, rest)
    assert PATHS.covers(f"/v1{raw}")


@pytest.mark.parametrize(
    "raw",
    [
        "/files/",
        "/files//content",
        "/files/../organization/costs",
        "/files/%2e%2e/organization/costs",
        "/files/a%2F..%2F..%2Forganization",
        "/files/.",
        "/files/a%5Cb",
        "/files/a%00b",
        "/files%2Ffile-1",
        "/%66iles/file-1",
        "/fine_tuning/unknown",
        "/realtime",
        "/unknown",
        "/",
    ],
)
def test_what_could_be_taken_for_another_path_does_not_pass(raw: str) -> None:
    assert PATHS.find(raw) is None


def test_only_what_is_switched_on_passes() -> None:
    few = PassedPaths(["files"], [])
    assert few.find("/files/file-1")
    assert few.find("/batches") is None
    assert few.covers("/v1/files")
    assert not few.covers("/v1/batches")
    assert not few.covers("/v2/files")
    assert not few.covers("/files")
    assert not PATHS.covers("/v1/realtime")
    assert PATHS.covers("/v1/realtime/translations/client_secrets")
    assert not PassedPaths([], []).covers("/v1/files")


@pytest.mark.parametrize(
    ("raw", "kind", "group"),
    [
        ("/files", "file", "files"),
        ("/batches/b", "batch", "batches"),
        ("/vector_stores", "vector_store", "vector_stores"),
        ("/fine_tuning/jobs", "job", "fine_tuning"),
        ("/threads/runs", "run", "threads"),
    ],
)
def test_an_object_is_called_what_its_collection_is(raw: str, kind: str, group: str) -> None:
    assert (found(raw).kind, found(raw).group) == (kind, group)


@pytest.mark.parametrize(
    ("method", "raw", "is_free"),
    [
        ("POST", "/files", True),
        ("POST", "/conversations", True),
        ("POST", "/uploads/u/complete", True),
        ("POST", "/vector_stores", True),
        ("POST", "/vector_stores/v/search", False),
        ("POST", "/evals", True),
        ("POST", "/evals/e/runs", False),
        ("POST", "/evals/e/runs/r", True),
        ("POST", "/containers", False),
        ("POST", "/containers/c/files", True),
        ("POST", "/batches", False),
        ("POST", "/batches/b/cancel", True),
        ("POST", "/fine_tuning/jobs", False),
        ("POST", "/fine_tuning/jobs/j/pause", True),
        ("POST", "/fine_tuning/jobs/j/resume", False),
        ("POST", "/fine_tuning/alpha/graders/run", False),
        ("POST", "/fine_tuning/alpha/graders/validate", True),
        ("POST", "/videos", False),
        ("POST", "/realtime/client_secrets", False),
        ("POST", "/threads", False),
        ("GET", "/videos/v", True),
        ("DELETE", "/threads/t", True),
    ],
)
def test_what_providers_charge_for_is_not_free(method: str, raw: str, is_free: bool) -> None:
    assert found(raw).is_free(method) is is_free


@pytest.mark.parametrize(
    ("method", "raw", "document", "stored"),
    [
        ("POST", "/files", {"id": "file-1"}, {("file-1", "file")}),
        ("GET", "/files/file-1", {"id": "file-1"}, set()),
        ("POST", "/vector_stores/vs_1/files", {"id": "file-1"}, set()),
        ("POST", "/videos/v/remix", {"id": "video_2"}, {("video_2", "video")}),
        ("POST", "/uploads/u/complete", {"id": "u", "file": {"id": "file-1"}}, {("file-1", "file")}),
        (
            "GET",
            "/batches/b",
            {"id": "b", "input_file_id": "file-0", "output_file_id": "file-1", "error_file_id": None},
            {("file-0", "file"), ("file-1", "file")},
        ),
        (
            "GET",
            "/fine_tuning/jobs/j",
            {"id": "j", "result_files": ["file-1", 2], "fine_tuned_model": "ft:gpt:o::1"},
            {("file-1", "file"), ("ft:gpt:o::1", "model")},
        ),
        ("GET", "/conversations/c/items", {"data": [{"id": "msg_1"}, {"id": 2}, 3]}, {("msg_1", "item")}),
        ("GET", "/conversations/c/items/msg_1", {"id": "msg_1"}, {("msg_1", "item")}),
        ("POST", "/files", {"id": 5, "file": "x", "result_files": "y"}, set()),
    ],
)
def test_an_answer_names_what_is_stored_from_now_on(
    method: str, raw: str, document: dict[str, Any], stored: set[tuple[str, str]]
) -> None:
    assert set(found(raw).stored(method, document)) == stored


@pytest.mark.parametrize(
    ("method", "raw", "location", "object_id"),
    [
        ("POST", "/realtime/calls", "/v1/realtime/calls/rtc_1", "rtc_1"),
        ("POST", "/realtime/calls", "https://eu.example/openai/v1/realtime/calls/rtc_1?x=y#z", "rtc_1"),
        ("POST", "/realtime/calls", "/v1/realtime/calls/a%2Fb", "a/b"),
        ("POST", "/realtime/calls", "/v1/realtime/calls/a%20b", "a b"),
        ("POST", "/realtime/calls", "/v1/realtime/calls/rtc_1/hangup", None),
        ("POST", "/realtime/calls", "/v1/realtime/calls/", None),
        ("POST", "/realtime/calls", "/v1/realtime/calls/%ff", None),
        ("POST", "/realtime/calls", "/v1/files/file-1", None),
        ("POST", "/realtime/calls", "http://[/v1/realtime/calls/rtc_1", None),
        ("POST", "/realtime/calls", "", None),
        ("GET", "/realtime/calls", "/v1/realtime/calls/rtc_1", None),
        ("POST", "/realtime/calls/rtc_0/refer", "/v1/realtime/calls/rtc_1", None),
    ],
)
def test_an_answer_says_where_what_it_has_made_is(method: str, raw: str, location: str, object_id: str | None) -> None:
    assert found(raw).made_at(method, location) == object_id


def test_deletions_lists_and_downloads_are_told_apart() -> None:
    assert found("/files").is_list("GET")
    assert not found("/files").is_list("POST")
    assert not found("/vector_stores/v/files").is_list("GET")
    assert found("/files/f").is_deletion("DELETE")
    assert not found("/vector_stores/v/files/f").is_deletion("DELETE")
    assert found("/files/f/content").is_content("GET")
    assert not found("/files/f").is_content("GET")


@pytest.mark.parametrize(
    ("document", "references", "models"),
    [
        ({}, set(), ()),
        (
            {"training_file": "file-1", "validation_file": "file-2", "model": "gpt-4o"},
            {"file-1", "file-2"},
            ("gpt-4o",),
        ),
        ({"input_file_id": "file-1", "metadata": {"model": "mine", "file_id": "x"}}, {"file-1"}, ()),
        ({"file_ids": ["file-1", 2]}, {"file-1"}, ()),
        ({"files": [{"file_id": "file-1"}]}, {"file-1"}, ()),
        ({"items": [{"type": "item_reference", "id": "msg_1"}, {"type": "message", "id": "msg_2"}]}, {"msg_1"}, ()),
        ({"data_source": {"source": {"type": "file_id", "id": "file-1"}, "model": "m"}}, {"file-1"}, ("m",)),
        ({"session": {"model": "gpt-realtime"}}, set(), ("gpt-realtime",)),
        ({"session": {"audio": {"output": {"voice": {"id": "voice_1"}}}}}, {"voice_1"}, ()),
        ({"video": {"id": "video_1"}}, {"video_1"}, ()),
        ({"video": "x", "model": 5, "training_file": None}, set(), ()),
    ],
)
def test_a_request_names_objects_and_models(
    document: dict[str, Any], references: set[str], models: tuple[str, ...]
) -> None:
    named = named_in(document)
    assert (set(named.references), named.models) == (references, models)


def page(*ids: str, has_more: bool = False, **others: Any) -> bytes:
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return orjson.dumps(
        {"object": "list", "data": [{"id": each} for each in ids], **ends, "has_more": has_more, **others}
    )


def read(listed: FilteredList, body: bytes, owned: set[str]) -> None:
    ids = listed.read(body)
    assert ids is not None
    listed.keep(owned & set(ids))


def is_done(listed: FilteredList) -> bool:
    return listed.is_done


def test_a_list_that_is_all_the_projects_stays_as_it_came() -> None:
    listed = FilteredList("limit=2&order=asc")
    body = page("a", "b", has_more=True).replace(b",", b" , ")
    assert listed.query == "limit=2&order=asc"
    read(listed, body, {"a", "b"})
    assert (listed.is_done, listed.body()) == (True, body)


def test_a_list_goes_on_until_it_has_what_was_asked_for_and_one_more() -> None:
    listed = FilteredList("limit=2&after=0&purpose=x%20y&metadata[a]=b")
    read(listed, page("1", "2", has_more=True, new="kept"), {"2"})
    assert not is_done(listed)
    assert listed.query == "purpose=x%20y&metadata[a]=b&limit=100&after=2"
    read(listed, page("3", "a/b", has_more=True), {"3"})
    assert listed.query.endswith("after=a%2Fb")
    read(listed, page("5", has_more=True), {"5"})
    assert is_done(listed)
    answer = orjson.loads(listed.body())
    assert [each["id"] for each in answer.pop("data")] == ["2", "3"]
    assert answer == {"object": "list", "first_id": "2", "last_id": "3", "has_more": True, "new": "kept"}


def test_the_last_page_says_so() -> None:
    listed = FilteredList("limit=2")
    read(listed, page("1", "2", has_more=True), set())
    read(listed, page("3"), {"3"})
    assert listed.is_done
    assert orjson.loads(listed.body())["has_more"] is False
    assert orjson.loads(listed.body())["last_id"] == "3"


@pytest.mark.parametrize("query", ["", "limit=many", "limit=999999999"])
def test_without_a_limit_a_page_is_as_long_as_the_upstreams(query: str) -> None:
    listed = FilteredList(query)
    read(listed, page("1", "2", "3", has_more=True), {"1"})
    read(listed, page("4", "5", "6", "7", has_more=True), {"4", "5", "6"})
    assert [each["id"] for each in orjson.loads(listed.body())["data"]] == ["1", "4", "5"]


def test_a_list_is_not_read_for_ever() -> None:
    listed = FilteredList("limit=1")
    for number in range(100):
        read(listed, page(str(number), has_more=True), set())
        if listed.is_done:
            break
    assert number == 19
    assert orjson.loads(listed.body()) == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": True
    }  # fmt: skip


def test_a_page_from_the_back_is_no_longer_than_it_came() -> None:
    listed = FilteredList("before=z&limit=2")
    read(listed, page("1", "2", has_more=True), {"2"})
    assert listed.is_done


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data":5}', b"<html>"])
def test_what_is_no_list_is_not_shown(body: bytes) -> None:
    assert FilteredList("").read(body) is None


def test_a_project_that_has_stored_nothing_is_shown_an_empty_list() -> None:
    listed = FilteredList("", is_empty=True)
    read(listed, page("1", "2", has_more=True), set())
    assert (listed.is_done, orjson.loads(listed.body())["has_more"]) == (True, False)


def test_the_list_of_a_second_upstream_comes_behind_the_first() -> None:
    listed = FilteredList("limit=3&after=0")
    assert listed.go_on()
    read(listed, page("1", "2"), {"1", "2"})
    assert listed.is_done
    assert listed.go_on()
    assert listed.query == "limit=100"
    read(listed, page("3", "4"), {"3", "4"})
    assert not listed.go_on()
    answer = orjson.loads(listed.body())
    assert [each["id"] for each in answer["data"]] == ["1", "2", "3"]
    assert (answer["last_id"], answer["has_more"]) == ("3", True)


def test_only_members_that_a_list_has_are_set_anew() -> None:
    listed = FilteredList("")
    read(listed, orjson.dumps({"data": [{"id": "1"}, {"id": "2"}, "odd"]}), {"1"})
    assert orjson.loads(listed.body()) == {"data": [{"id": "1"}]}


@pytest.mark.parametrize("path", ["/threads", "threads/", "Threads", "a b", "organization/costs", "gateway", ""])
def test_an_added_path_must_be_one_of_the_upstreams(path: str) -> None:
    with pytest.raises(ValueError, match="must be a path"):
        Gateway(passthrough_paths=(path,))
