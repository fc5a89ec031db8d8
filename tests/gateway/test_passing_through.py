"""What passes through, through a running Weir: as it came both ways, metered call by call, each project for itself."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.projects.service import DEFAULT_PROJECT_ID
from app.settings import Settings
from app.simulator.app import Simulator
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, StartWeir, run_weir, with_changes, with_upstream
from tests.gateway.test_budgeted import make_budget, window
from tests.limits.making import make

LINES = b'{"custom_id":"1"}\n'
FILE: Any = {"file": ("lines.jsonl", LINES), "purpose": "batch"}
NOTHING_HERE = "http://127.0.0.1:1/v1"
EVAL: Any = {"data_source_config": {"type": "logs"}, "testing_criteria": []}
STORED: Any = [
    {"type": "completions", "model": "gpt-4o", "source": {"type": "stored_completions", "limit": 100}},
    {"type": "responses", "model": "gpt-4o", "source": {"type": "responses"}},
]
OWN: Any = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"source": {"type": "x"}}}]}}


@pytest.fixture
async def other(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    """The SDK with the key of another project."""
    project = await weir.wiring.tenants.projects.create("Other")
    key = await weir.wiring.keys.create("api", "other", project_id=project.id)
    async with weir.openai(api_key=key.value) as client:
        yield client


@pytest.fixture
async def mine(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    async with weir.openai() as client:
        yield client


async def files_of(client: AsyncOpenAI, **query: Any) -> list[str]:
    return [file.id async for file in client.files.list(**query)]


async def test_another_projects_objects_are_not_there(weir: RunningWeir, mine: AsyncOpenAI, other: AsyncOpenAI) -> None:
    file = await mine.files.create(**FILE)
    store = await mine.vector_stores.create(file_ids=[file.id])
    before = len(weir.arrivals)
    attempts: list[Any] = [
        other.files.retrieve(file.id),
        other.files.content(file.id),
        other.files.delete(file.id),
        other.vector_stores.retrieve(store.id),
        other.vector_stores.search(store.id, query="secrets"),
        other.vector_stores.files.list(store.id),
        other.vector_stores.create(file_ids=[file.id]),
        other.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"),
        other.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id),
        other.files.list(after=file.id),
        other.vector_stores.list(before=store.id),
        other.files.retrieve("file-that-nobody-has"),
    ]
    for attempt in attempts:
        with pytest.raises(openai.NotFoundError):
            await attempt
    assert len(weir.arrivals) == before, "nothing was sent"
    assert (await mine.files.retrieve(file.id)).id == file.id


async def test_no_cursor_of_another_project_is_asked_for_beside_an_own_one(
    weir: RunningWeir, mine: AsyncOpenAI, other: AsyncOpenAI
) -> None:
    own, theirs = (await mine.files.create(**FILE)).id, (await other.files.create(**FILE)).id
    before = len(weir.arrivals)
    async with weir.http() as client:
        for cursors in (f"after={theirs}&after={own}", f"after={own}&before={theirs}"):
            assert (await client.get(f"/v1/files?{cursors}")).status_code == 404
    assert len(weir.arrivals) == before


async def test_a_body_of_two_types_is_refused(weir: RunningWeir, mine: AsyncOpenAI, other: AsyncOpenAI) -> None:
    theirs = await other.files.create(**FILE)
    before = len(weir.arrivals)
    body = orjson.dumps({"input_file_id": theirs.id, "endpoint": "/v1/responses", "completion_window": "24h"})
    headers = [("content-type", "multipart/form-data; boundary=x"), ("content-type", "application/json")]
    async with weir.http() as client:
        answer = await client.post("/v1/batches", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    assert len(weir.arrivals) == before


async def test_a_list_has_the_projects_own_objects_in_true_pages(mine: AsyncOpenAI, other: AsyncOpenAI) -> None:
    own = []
    for _ in range(3):
        own.append((await mine.files.create(**FILE)).id)
        await other.files.create(**FILE)
    own.reverse()
    page = await mine.files.list(limit=2, purpose="batch")
    assert [file.id for file in page.data] == own[:2]
    assert page.has_next_page()
    assert [file.id for file in (await page.get_next_page()).data] == own[2:]
    assert await files_of(mine, limit=1) == own
    assert len(await files_of(other)) == 3


async def test_who_has_stored_nothing_sees_an_empty_list(
    weir: RunningWeir, mine: AsyncOpenAI, other: AsyncOpenAI
) -> None:
    await mine.files.create(**FILE)
    page = await other.files.list()
    assert (page.data, page.has_more) == ([], False)
    assert len(weir.arrivals) == 2


async def test_what_is_deleted_belongs_to_nobody_any_more(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    file = await mine.files.create(**FILE)
    container = await mine.containers.create(name="box")
    await mine.files.delete(file.id)
    await mine.containers.delete(container.id)
    assert await weir.sql("SELECT object_id FROM owned_objects") == []
    with pytest.raises(openai.NotFoundError):
        await mine.files.retrieve(file.id)


async def test_files_that_a_batch_has_made_are_the_projects(
    canned_weir: RunningWeir, canned: CannedUpstream, other: AsyncOpenAI
) -> None:
    batch = {"id": "batch_1", "object": "batch", "output_file_id": None}
    async with canned_weir.openai() as client:
        canned.answers_json({"id": "file-1", "object": "file"})
        await client.files.create(**FILE)
        canned.answers_json(batch)
        await client.batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
        canned.answers_json({**batch, "output_file_id": "file-2"})
        await client.batches.retrieve("batch_1")
        canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        assert (await client.files.content("file-2")).content == b"hello"
        canned.answers_json({"object": "list", "data": [{**batch, "error_file_id": "file-3"}], "has_more": False})
        await client.batches.list()
        canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nerror")
        assert (await client.files.content("file-3")).content == b"error"


async def test_without_isolation_whoever_knows_an_id_may_use_it(weir: RunningWeir, start_weir: StartWeir) -> None:
    open_weir = await start_weir({"gateway.isolation": "off"})
    async with weir.openai() as client:
        file = await client.files.create(**FILE)
    async with open_weir.openai() as client:
        assert (await client.files.retrieve(file.id)).id == file.id
        assert file.id in await files_of(client)
        with pytest.raises(openai.NotFoundError) as raised:
            await client.files.retrieve("file-nobody-has")
    assert "No such object" in raised.value.message


@pytest.fixture(scope="session")
async def _open_pair(
    settings: Settings, _canned_pair: tuple[RunningWeir, CannedUpstream]
) -> AsyncIterator[RunningWeir]:
    base_url = _canned_pair[0].settings.openai_base_url
    changed = with_changes(with_upstream(settings, base_url), {"gateway.isolation": "off"})
    async with run_weir(changed, Simulator()) as running:
        yield running


@pytest.fixture
async def open_canned(weir: RunningWeir, _open_pair: RunningWeir) -> RunningWeir:
    """A Weir without isolation in front of `canned`."""
    _open_pair.api_key = weir.api_key
    return _open_pair


async def test_a_request_arrives_as_it_was_sent(open_canned: RunningWeir, canned: CannedUpstream) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        canned.answers_json({"ok": True})
        path = "/v1/files/a%2Fb%3Fc%C3%BC:x?include[]=a&include[]=b&metadata[k]=v%20w&e=&x"
        body = b'{ "big": 12345678901234567890, "a":1 }'
        async with open_canned.http() as client:
            headers = {"content-type": "application/json", "openai-beta": "assistants=v2", "cookie": "a=b"}
            content = None if method in ("GET", "DELETE") else body
            answer = await client.request(method, path, content=content, headers=headers)
        assert answer.json() == {"ok": True}
        [request] = canned.requests
        head, _, sent = request.partition(b"\r\n\r\n")
        assert head.splitlines()[0] == f"{method} {path} HTTP/1.1".encode()
        assert sent == (content or b"")
        assert b"openai-beta: assistants=v2" in head.lower()
        assert b"cookie" not in head.lower()
        assert open_canned.api_key.encode() not in request
        assert f"Bearer {UPSTREAM_KEY}".encode() in head


async def test_a_form_arrives_with_its_boundary_and_its_length(
    open_canned: RunningWeir, canned: CannedUpstream
) -> None:
    canned.answers_json({"id": "file-1"})
    body = b'--x y\r\ncontent-disposition: form-data; name="expires_after[anchor]"\r\n\r\n\xff\0\r\n--x y--\r\n'
    async with open_canned.http() as client:
        headers = {"content-type": 'multipart/form-data; boundary="x y"'}
        await client.post("/v1/files", content=body, headers=headers)
    [request] = canned.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert sent == body
    assert b'content-type: multipart/form-data; boundary="x y"' in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()


async def test_an_answer_arrives_as_it_was_sent_but_for_what_is_the_upstreams_own(
    open_canned: RunningWeir, canned: CannedUpstream
) -> None:
    body = bytes(range(256)) * 100
    head = (
        "HTTP/1.1 206 Partial Content\r\ncontent-type: application/octet-stream\r\n"
        "content-range: bytes 0-25599/99999\r\n"
        'accept-ranges: bytes\r\netag: "abc"\r\nlast-modified: Sun, 06 Nov 2026 08:49:37 GMT\r\n'
        'content-disposition: attachment; filename="a.bin"\r\nset-cookie: a=b\r\nserver: secret\r\n'
        f"openai-organization: org-secret\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    canned.answers(head.encode() + body)
    async with open_canned.http() as client:
        answer = await client.get("/v1/files/f/content", headers={"range": "bytes=0-25599", "accept-encoding": "gzip"})
    assert (answer.status_code, answer.content) == (206, body)
    assert b"range: bytes=0-25599" in canned.requests[0].lower()
    for line in head.split("\r\n")[1:6]:
        name, _, value = line.partition(": ")
        assert answer.headers[name] == value
    assert answer.headers["content-length"] == str(len(body))
    assert not {"set-cookie", "openai-organization", "content-encoding"} & set(answer.headers)
    assert "secret" not in str(answer.headers)


async def test_without_isolation_an_eval_reads_everything(open_canned: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({"id": "evalrun_1", "object": "eval.run"})
    async with open_canned.openai() as client:
        for source in STORED:
            await client.evals.runs.create("eval_1", data_source=source)
    assert len(canned.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429, 500, 503])
async def test_an_error_arrives_as_it_was_sent(open_canned: RunningWeir, canned: CannedUpstream, status: int) -> None:
    body = b'{ "error": {"message":"No.","type":"t","param":null,"code":"c"}, "more": 1 }'
    canned.answers_json(body, status)
    async with open_canned.http() as client:
        answers = [await client.get("/v1/files/f"), await client.get("/v1/files")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(status, body)] * 2
    for entry in await open_canned.entries():
        assert (entry["ending"], entry["status"], entry["cost_nano"]) == ("released", status, 0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\n{}", "upstream_authentication_failed"),
        (b"HTTP/1.1 302 Go\r\nlocation: http://evil\r\ncontent-length: 0\r\n\r\n", "upstream_invalid_response"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "upstream_unreachable"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            "upstream_invalid_response",
        ),
        (b"", "upstream_unreachable"),
    ],
)
async def test_an_upstream_that_does_not_answer_is_an_error_of_weirs(
    open_canned: RunningWeir, canned: CannedUpstream, answer: bytes, code: str
) -> None:
    canned.answers(answer)
    async with open_canned.http() as client:
        got = await client.get("/v1/files")
    assert (got.status_code, got.json()["error"]["code"]) == (502, code)
    assert len(await open_canned.entries()) == 1


async def test_nothing_is_written_down_of_what_was_never_sent(weir: RunningWeir, start_weir: StartWeir) -> None:
    unlucky = await start_weir({"openai_base_url": NOTHING_HERE})
    async with unlucky.http() as client:
        answer = await client.get("/v1/files")
    assert answer.json()["error"]["code"] == "upstream_unreachable"
    assert await unlucky.entries() == []
    assert await weir.sql("SELECT * FROM reservations") == []


async def test_every_call_is_a_row_that_costs_nothing(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    file = await mine.files.create(**FILE)
    await mine.files.content(file.id)
    await mine.files.list()
    entries = await weir.entries()
    calls = weir.arrivals
    assert [entry["request_id"] for entry in entries] == [call.request_id for call in calls]
    assert {(entry["operation"], entry["model"]) for entry in entries} == {("passthrough.files", "passthrough:files")}
    assert {(entry["ending"], entry["cost_nano"], tuple(entry["flags"])) for entry in entries} == {("settled", 0, ())}
    assert await weir.sql("SELECT * FROM reservations") == []


async def test_a_price_for_a_group_is_charged_for_each_request(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    new = {"model": "passthrough:files", "rates": {"input": "0"}, "per_request_usd": "0.03"}
    async with weir.http(weir.admin_key) as admin:
        assert (await admin.post("/v1/gateway/prices", json=new)).status_code == 200
        try:
            await make_budget(weir, "0.06")
            answer = await mine.files.with_raw_response.create(**FILE)
            assert answer.headers["x-weir-cost-usd"] == "0.03"
            await mine.files.content(answer.parse().id)
            with pytest.raises(openai.RateLimitError):
                await mine.files.list()
            assert await window(weir) == (60_000_000, 0)
        finally:
            await weir.sql("DELETE FROM prices WHERE source = 'operator'")
            await weir.wiring.price_admin._prices.load()


async def test_calls_go_where_the_object_is_and_lists_have_those_of_all_upstreams(managed: Managed) -> None:
    await managed.add()
    new: Any = {"data_source_config": {"type": "custom"}, "testing_criteria": []}
    async with AsyncOpenAI(base_url=managed.second_url, api_key=SECOND_KEY) as direct:
        there = (await direct.evals.create(**new)).id
    await managed.weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, there, "eval", "second")
    async with managed.weir.openai() as client:
        here = [(await client.evals.create(**new)).id for _ in range(2)][::-1]
        pages = [[each.id async for each in client.evals.list(limit=limit)] for limit in (1, 2, 50)]
        assert (await client.evals.retrieve(there)).id == there
        assert (await client.evals.delete(there)).deleted
        assert [each.id async for each in client.evals.list()] == here
    assert pages == [[*here, there]] * 3


async def test_with_no_upstream_nothing_passes(start_weir: StartWeir) -> None:
    lonely = await start_weir({"openai_api_key": None, "simulator.mode": "off"})
    async with lonely.http() as client:
        answer = await client.get("/v1/files")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_upstream")


async def test_under_a_budget_only_what_may_be_billed_needs_a_price(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    await make_budget(weir, "0.000000001")
    file = await mine.files.create(**FILE)
    with pytest.raises(openai.BadRequestError) as raised:
        await mine.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    assert "passthrough:batches" in raised.value.message
    assert len(weir.arrivals) == 1


async def test_each_call_is_a_request_in_the_limits(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    await make(weir, maximum=2, model="passthrough:*")
    answer = await mine.files.with_raw_response.create(**FILE)
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    await mine.files.list()
    with pytest.raises(openai.RateLimitError):
        await mine.files.list()


async def test_a_project_may_be_kept_from_a_group_and_from_models_in_bodies(
    weir: RunningWeir, mine: AsyncOpenAI
) -> None:
    path = f"/v1/organization/projects/{DEFAULT_PROJECT_ID}/model_permissions"
    denied = {"mode": "deny_list", "model_ids": ["passthrough:batches", "o3*"]}
    async with weir.http(weir.admin_key) as admin:
        assert (await admin.post(path, json=denied)).status_code == 200
    file = await mine.files.create(**FILE)
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await mine.batches.list()
    assert "passthrough:batches" in raised.value.message
    with pytest.raises(openai.NotFoundError) as unknown:
        await mine.fine_tuning.jobs.create(model="o3-mini", training_file=file.id)
    assert unknown.value.code == "model_not_found"
    assert len(weir.arrivals) == 1


@pytest.mark.parametrize("source", STORED)
async def test_an_eval_does_not_read_what_all_projects_have_stored(
    weir: RunningWeir, mine: AsyncOpenAI, source: Any
) -> None:
    new = await mine.evals.create(**EVAL)
    with pytest.raises(openai.BadRequestError) as raised:
        await mine.evals.runs.create(new.id, data_source=source)
    assert raised.value.param == "data_source.source.type"
    assert len(weir.arrivals) == 1


async def test_an_eval_reads_what_it_is_given(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({"id": "eval_1", "object": "eval"})
    async with canned_weir.openai() as client:
        new = await client.evals.create(**EVAL)
        await client.evals.runs.create(new.id, data_source=OWN)
    assert len(canned.requests) == 2


async def test_what_is_ambiguous_is_refused(weir: RunningWeir) -> None:
    async with weir.http() as client:
        headers = {"content-type": "application/json"}
        answer = await client.post(
            "/v1/vector_stores", content=b'{"file_ids":[],"file_ids":["file-1"]}', headers=headers
        )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file_ids")


@pytest.mark.parametrize(
    "body",
    [
        b'{"file_ids":',
        b'{"name":"\\ud800","file_ids":["file-of-others"]}',
        b'{"x":NaN,"file_ids":["file-of-others"]}',
        b'\xef\xbb\xbf{"file_ids":["file-of-others"]}',
        '{"file_ids":["file-of-others"]}'.encode("utf-16"),
        b'{"x":%b,"file_ids":["file-of-others"]}' % (b"1" * 400),
        b'{"x":%b%b,"file_ids":["file-of-others"]}' % (b"[" * 1_100, b"]" * 1_100),
        b'[{"file_ids":["file-of-others"]}]',
    ],
    ids=["broken", "surrogate", "nan", "bom", "utf-16", "number", "nested", "array"],
)
async def test_json_that_only_others_can_read_is_not_passed_on(weir: RunningWeir, body: bytes) -> None:
    async with weir.http() as client:
        answer = await client.post("/v1/vector_stores", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert len(weir.arrivals) == 0


@pytest.mark.parametrize("name", ["file_id", "file_ids[]", "video[id]", "input_reference[file_id]", "file%5fid"])
async def test_a_form_does_not_name_what_is_stored(weir: RunningWeir, mine: AsyncOpenAI, name: str) -> None:
    container = await mine.containers.create(name="box")
    form = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nfile-of-others\r\n--x--\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=x"}
    path = f"/v1/containers/{container.id}/files"

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(form), 7):
            yield form[at : at + 7]

    async with weir.http() as client:
        answers = [await client.post(path, content=body, headers=headers) for body in (form, in_pieces())]
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
        compressed = await client.post(path, content=form, headers={**headers, "content-encoding": "gzip"})
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            other = await client.post(path, content=b'{"file_id":"file-of-others"}', headers={"content-type": kind})
            assert (other.status_code, other.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert compressed.status_code == 415
    assert "finished" not in [call.ending for call in weir.arrivals[1:]]


async def test_a_form_brings_files_to_what_is_the_projects(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({"id": "cntr_1", "object": "container"})
    async with canned_weir.openai() as client:
        await client.containers.create(name="box")
        canned.answers_json({"id": "cfile_1", "object": "container.file"})
        await client.containers.files.create("cntr_1", file=("file_id.py", b'Field(name="file_id")'))
    [request] = canned.requests
    assert b'Field(name="file_id")' in request


async def test_a_call_that_was_made_is_the_projects_and_its_caller_hears_its_id(
    settings: Settings, canned: CannedUpstream, canned_weir: RunningWeir
) -> None:
    behind = with_upstream(settings, canned_weir.settings.openai_base_url)
    async with run_weir(with_changes(behind, {"gateway.passthrough": ("realtime",)}), Simulator()) as calling:
        project = await calling.wiring.tenants.projects.create("Other")
        other = await calling.wiring.keys.create("api", "other", project_id=project.id)
        canned.answers(
            b"HTTP/1.1 201 Created\r\ncontent-type: application/sdp\r\ncontent-length: 5\r\n"
            b"location: https://upstream.example/v1/realtime/calls/rtc_1\r\n\r\nv=0\r\n"
        )
        async with calling.openai() as client:
            made = await client.realtime.calls.create(sdp="v=0\r\n", session={"type": "realtime"})
            assert made.content == b"v=0\r\n"
            assert made.response.headers["location"] == "/v1/realtime/calls/rtc_1"
            canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await client.realtime.calls.hangup("rtc_1")
        assert canned.requests[0].startswith(b"POST /v1/realtime/calls/rtc_1/hangup ")
        async with calling.openai(api_key=other.value) as client:
            with pytest.raises(openai.NotFoundError):
                await client.realtime.calls.hangup("rtc_1")


async def test_compressed_json_is_not_passed_on(weir: RunningWeir) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    async with weir.http() as client:
        answer = await client.post("/v1/vector_stores", content=gzip.compress(b"{}"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert len(weir.arrivals) == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/files/%2e%2e/organization/costs", 404, "unknown_url"),
        ("GET", "/v1/fine_tuning/nothing", 404, "unknown_url"),
        ("GET", "/v1/threads/thread_1", 404, "unknown_url"),
        ("OPTIONS", "/v1/files", 405, "method_not_allowed"),
        ("PATCH", "/v1/chat/completions", 405, "method_not_allowed"),
    ],
)
async def test_other_paths_are_as_unknown_as_before(
    weir: RunningWeir, method: str, path: str, status: int, code: str
) -> None:
    async with weir.http() as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(weir.arrivals) == 0


async def test_who_may_not_make_calls_may_not_pass_anything_on(weir: RunningWeir) -> None:
    for key, status in (("", 401), ("wk-nobody", 401), (weir.admin_key, 403)):
        async with weir.http(key) as client:
            assert (await client.get("/v1/files")).status_code == status


async def test_an_administrator_adds_paths_and_switches_groups_off(start_weir: StartWeir) -> None:
    changes = {"gateway.passthrough": ("files",), "gateway.passthrough_paths": ("threads",)}
    async with (await start_weir(changes)).http() as client:
        thread = await client.post("/v1/threads", json={"metadata": {}})
        got = await client.get(f"/v1/threads/{thread.json()['id']}")
        unknown = await client.get("/v1/threads/thread_nobody_has")
        off = await client.get("/v1/batches")
    assert got.json() == thread.json()
    assert (unknown.status_code, off.status_code) == (404, 404)
    assert off.json()["error"]["code"] == "unknown_url"


async def test_documents_have_the_limit_of_all_documents_and_uploads_their_own(start_weir: StartWeir) -> None:
    changes = {"http.body_size_bytes_max": 2_048, "http.upload_size_bytes_max": 4_096}
    running = await start_weir(changes)
    async with running.http() as client:
        document = await client.post("/v1/conversations", json={"items": "x" * 3_000})
        upload = await client.post("/v1/files", files={"file": ("a", bytes(2_500))}, data={"purpose": "batch"})
        too_large = await client.post("/v1/files", files={"file": ("a", bytes(5_000))}, data={"purpose": "batch"})
        chunked = await client.post("/v1/files", content=_chunks(5_000), headers={"content-type": "application/x"})
    assert (document.status_code, upload.status_code) == (413, 200)
    assert (too_large.status_code, chunked.status_code) == (413, 413)
    await running.wiring.ledger.drain()
    assert await running.sql("SELECT * FROM reservations") == []


async def _chunks(size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(0, size_bytes, 1_000):
        yield bytes(1_000)


async def send_a_part(weir: RunningWeir, path: str, content_type: str, part: str) -> bytes:
    """Send the beginning of a body, with the end of its head before it; return all that comes back."""
    host, port = weir.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {weir.api_key}\r\n"
    writer.write(f"{head}content-type: {content_type}\r\n{part}".encode())
    async with asyncio.timeout(20):
        answer = await reader.read()  # to the end: the connection is closed
    writer.close()
    return answer


PARTS = ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "content-length: 1000\r\n\r\nhello")


async def test_an_upload_that_stops_is_timed_out_and_leaves_nothing(weir: RunningWeir, start_weir: StartWeir) -> None:
    impatient = await start_weir({"http.upload_timeout_seconds": 0.2})
    for part in PARTS:
        weir.simulator.account.reset()
        answer = await send_a_part(impatient, "/v1/files", "application/octet-stream", part)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        [call] = await weir.simulator.account.wait_for_endings(1)
        assert call.ending == "client_left"
    entries = await impatient.entries()
    assert [(entry["outcome"], entry["cost_nano"]) for entry in entries] == [("client_left", 0)] * 2
    assert await weir.sql("SELECT * FROM reservations") == []
    assert await weir.sql("SELECT * FROM owned_objects") == []


@pytest.mark.parametrize("part", PARTS)
async def test_a_document_that_stops_is_never_sent(weir: RunningWeir, start_weir: StartWeir, part: str) -> None:
    impatient = await start_weir({"http.upload_timeout_seconds": 0.2})
    answer = await send_a_part(impatient, "/v1/vector_stores", "application/json", part)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert len(weir.arrivals) == 0
    assert await impatient.entries() == []


async def test_a_caller_who_leaves_an_upload_leaves_nothing(weir: RunningWeir) -> None:
    host, port = weir.base_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/files HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {weir.api_key}\r\ncontent-length: 1000\r\n"
    writer.write(f"{head}content-type: application/octet-stream\r\n\r\nhello".encode())
    await weir.simulator.account.wait_for_arrivals(1)
    writer.close()
    [call] = await weir.simulator.account.wait_for_endings(1)
    assert call.ending == "client_left"
    await until(lambda: _has_ended(weir))
    assert await weir.sql("SELECT * FROM reservations") == []


async def _has_ended(weir: RunningWeir) -> bool:
    return [entry["outcome"] for entry in await weir.entries()] == ["client_left"]


async def test_a_download_that_breaks_off_is_cut_and_one_that_is_left_is_stopped(
    weir: RunningWeir, mine: AsyncOpenAI
) -> None:
    file = await mine.files.create(file=("a", bytes(20_000_000)), purpose="user_data")
    path = f"/v1/files/{file.id}/content"
    async with weir.http() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(path, headers={"x-simulator": "cut_after=3"})
        async with client.stream("GET", path, headers={"x-simulator": "hang=2"}) as answer:
            assert await anext(answer.aiter_raw())
    await weir.simulator.account.wait_for_endings(3)
    assert [call.ending for call in weir.arrivals] == ["finished", "cut", "client_left"]
    await until(lambda: _outcomes(weir, ["completed", "upstream_broke", "client_left"]))


async def _outcomes(weir: RunningWeir, outcomes: list[str]) -> bool:
    return [entry["outcome"] for entry in await weir.entries()] == outcomes


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4_096


async def test_large_bodies_leave_memory_flat_both_ways(weir: RunningWeir) -> None:
    """The caller, Weir and the upstream are all in this process: none of them may keep what passes."""
    size_bytes, piece = 200 * 1024 * 1024, bytes(64 * 1024)
    most = 0
    head = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--x\r\n'
    head += b'content-disposition: form-data; name="file"; filename="large"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        nonlocal most
        yield head
        for _ in range(size_bytes // len(piece)):
            yield piece
            most = max(most, rss_bytes())
        yield b"\r\n--x--\r\n"

    async with asyncio.timeout(100), weir.http() as client:
        await client.get("/v1/files")
        before = rss_bytes()
        headers = {"content-type": "multipart/form-data; boundary=x"}
        upload = await client.post("/v1/files", content=body(), headers=headers)
        assert upload.json()["bytes"] == size_bytes
        received = 0
        async with client.stream("GET", f"/v1/files/{upload.json()['id']}/content") as answer:
            assert answer.headers["content-length"] == str(size_bytes)
            async for data in answer.aiter_raw():
                received += len(data)
                most = max(most, rss_bytes())
    assert received == size_bytes
    # What the simulator keeps of a file are 4 MiB.
    assert most - before < 48 * 1024 * 1024


async def test_a_slow_reader_slows_the_upstream_down(weir: RunningWeir, mine: AsyncOpenAI) -> None:
    file = await mine.files.create(file=("a", bytes(64_000_000)), purpose="user_data")
    async with weir.http() as client, client.stream("GET", f"/v1/files/{file.id}/content") as answer:
        pieces = answer.aiter_raw()
        received = len(await anext(pieces))
        call = weir.arrivals[-1]
        sent = -1
        while sent != call.bytes_sent:  # until it does not get on any more
            sent = call.bytes_sent
            await asyncio.sleep(0.2)
        assert sent < 32_000_000
        received += sum([len(data) async for data in pieces])
    assert received == 64_000_000


async def test_what_has_no_content_has_no_length(canned_weir: RunningWeir, canned: CannedUpstream) -> None:
    canned.answers_json({"id": "file-1"})
    async with canned_weir.http() as client:
        await client.post("/v1/files", files={"file": ("a.jsonl", b"{}")}, data={"purpose": "batch"})
        canned.answers(b"HTTP/1.1 204 No Content\r\n\r\n")
        answer = await client.delete("/v1/files/file-1")
    assert (answer.status_code, "content-length" in answer.headers) == (204, False)
