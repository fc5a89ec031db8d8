"""An upstream is tried out before it is saved, and the administrator learns exactly what is wrong with it."""

import asyncio
from typing import Any

import pytest

from app.settings import Settings
from app.upstreams import trial_service
from app.upstreams.client import UpstreamClient
from app.upstreams.routing import Timeouts, Upstream
from app.upstreams.trial_service import TrialService
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.ports import NOBODY_LISTENS
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir
from tests.upstreams.names import Names

WRONG_KEY = "sk-wrong-secret-that-must-never-be-seen"
LIST = {"object": "list", "data": [{"id": "a-model"}, {"id": "second-model"}, {"id": 5}]}
HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<html>hi</html>"
ECHO = b'{"error": {"message": "Incorrect API key provided: ' + WRONG_KEY.encode() + b'"}}'


@pytest.fixture
def elsewhere(canned_weir: RunningWeir) -> str:
    return canned_weir.settings.openai_base_url


@pytest.fixture
def names(managed: Managed, monkeypatch: pytest.MonkeyPatch) -> Names:
    """DNS that says what the test wants, for looking up and for connecting."""
    names = Names()
    monkeypatch.setattr(managed.weir.wiring.upstream_admin._resolver, "_resolver", names)
    return names


async def refusal(managed: Managed, base_url: str, **changes: Any) -> dict[str, Any]:
    """The error that adding an upstream ends with, after which there is none."""
    new = {"name": "second", "base_url": base_url, "api_key": WRONG_KEY, "models": ["second-*"], **changes}
    answer = await managed.call("POST", json=new)
    assert answer.status_code == 422, answer.text
    assert WRONG_KEY not in answer.text
    assert (await managed.call("GET")).json()["data"] == []
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == "upstream_test_failed"
    return error


async def test_a_credential_that_is_not_accepted_is_named(managed: Managed) -> None:
    error = await refusal(managed, managed.second_url)
    assert error["param"] == "api_key"
    assert f"GET {managed.second_url}/models: it answered 401" in error["message"]
    assert "with 'test': false" in error["message"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((HTML,), "something else than a list of models"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",), "something else than a list of models"),
        ((b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",), "it answered 404"),
        ((b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",), "it answered 307"),
        ((b"HTTP/1.1 500 Oh\r\ncontent-length: %d\r\n\r\n" % len(ECHO) + ECHO,), "it answered 500"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",), "no whole answer came"),
        ((b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",), "its answer is compressed"),
        ((b"no http",), "no whole answer came"),
        ((), "no whole answer came"),
    ],
    ids=["html", "no object", "404", "redirect", "echo of the key", "cut", "gzip", "no http", "closed"],
)
async def test_an_answer_that_is_none_is_named(
    managed: Managed, canned: CannedUpstream, elsewhere: str, parts: tuple[bytes, ...], said: str
) -> None:
    canned.answers(*parts)
    error = await refusal(managed, elsewhere)
    assert error["param"] == "base_url"
    assert said in error["message"]


async def test_an_upstream_that_hangs_is_given_up(
    managed: Managed, canned: CannedUpstream, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_service, "_TIMEOUT_SECONDS", 0.2)
    never = asyncio.Event()
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", never)
    try:
        async with asyncio.timeout(20):
            error = await refusal(managed, elsewhere)
    finally:
        never.set()
    assert "it did not answer within 0.2 seconds" in error["message"]


async def test_its_own_timeout_may_strike_first(canned: CannedUpstream, elsewhere: str) -> None:
    never = asyncio.Event()
    canned.answers(never)
    client = UpstreamClient(Settings().upstream)
    hasty = Upstream("second", elsewhere, WRONG_KEY, models=("*",), timeouts=Timeouts(first_byte_timeout_seconds=0.1))
    try:
        async with asyncio.timeout(5):
            trial = await TrialService(client).try_out(hasty)
    finally:
        never.set()
        await client.close()
    assert trial.failure == "timed_out"


async def test_a_server_that_is_not_there_is_named(managed: Managed) -> None:
    error = await refusal(managed, f"{NOBODY_LISTENS}/v1")
    assert error["param"] == "base_url"
    assert "it cannot be reached" in error["message"]


async def test_a_server_without_tls_is_named(managed: Managed) -> None:
    error = await refusal(managed, managed.second_url.replace("http://", "https://"))
    assert "it cannot be reached" in error["message"]
    assert "ssl" in error["message"].lower()


async def test_a_name_that_nobody_knows_is_named(managed: Managed, names: Names) -> None:
    error = await refusal(managed, "https://nowhere.example/v1")
    assert "Name or service not known" in error["message"]


async def test_a_name_that_leads_where_nothing_may_be_is_refused_also_without_a_test(
    managed: Managed, names: Names
) -> None:
    names.answers["metadata.example"] = [["169.254.169.254"]]
    new = {"name": "second", "base_url": "https://metadata.example", "models": ["*"], "test": False}
    answer = await managed.call("POST", json=new)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "base_url")
    assert "it leads to 169.254.169.254" in answer.json()["error"]["message"]


async def test_what_fails_can_be_saved_all_the_same(managed: Managed, names: Names) -> None:
    made = await managed.add(base_url="https://nowhere.example/v1", test=False)

    tested = await managed.call("POST", f"/{made['id']}/test")

    assert tested.status_code == 200
    assert (tested.json()["ok"], tested.json()["failure"], tested.json()["models"]) == (False, "unreachable", [])


async def test_a_test_shows_the_models_that_calls_would_be_sent_there_for(
    managed: Managed, canned: CannedUpstream, elsewhere: str
) -> None:
    canned.answers_json(LIST)
    made = await managed.add(base_url=elsewhere)
    [request] = canned.requests
    assert request.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert f"authorization: Bearer {SECOND_KEY}\r\n".encode() in request

    tested = (await managed.call("POST", f"/{made['id']}/test")).json()

    assert tested.pop("duration_ms") >= 0
    assert tested == {
        "id": made["id"],
        "object": "weir.upstream.test",
        "ok": True,
        "failure": None,
        "message": f"GET {elsewhere}/models: it lists 2 models.",
        "models": ["second-model"],
    }


@pytest.mark.parametrize(
    ("api_version", "line"),
    [(None, b"GET /openai/v1/models HTTP/1.1"), ("2024-10-21", b"GET /openai/models?api-version=2024-10-21 HTTP/1.1")],
)
async def test_azure_is_asked_in_its_own_way(
    managed: Managed, canned: CannedUpstream, elsewhere: str, api_version: str | None, line: bytes
) -> None:
    canned.answers_json(LIST)
    await managed.add(provider="azure", base_url=elsewhere.removesuffix("/v1"), api_version=api_version)
    [request] = canned.requests
    assert request.split(b"\r\n")[0] == line
    assert f"api-key: {SECOND_KEY}\r\n".encode() in request
    assert b"authorization" not in request


async def test_nobody_waits_for_a_test_with_the_database(
    managed: Managed, canned: CannedUpstream, elsewhere: str
) -> None:
    """While an upstream is tried out, others are changed: no transaction is open meanwhile."""

    async def nobody_is_in_a_transaction() -> bool:
        return not await managed.weir.sql("SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'")

    begun = asyncio.Event()
    canned.answers(begun)
    adding = asyncio.create_task(
        managed.call("POST", json={"name": "slow", "base_url": elsewhere, "api_key": "x", "models": ["x"]})
    )
    try:
        async with asyncio.timeout(20):
            await until(lambda: bool(canned.requests))
            await managed.add(name="quick", test=False)
            await until(nobody_is_in_a_transaction)
            assert not adding.done()
    finally:
        begun.set()
        await adding
