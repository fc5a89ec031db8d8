"""The simulator's bill, read by the official SDK."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError

from app.simulator.account import Account
from app.simulator.app import Simulator
from app.simulator.call import Ending
from app.simulator.costs import DAY_SECONDS
from tests.simulator.wire import ASK, Wire

DAY = int(datetime(2031, 5, 10, tzinfo=UTC).timestamp())


@pytest.fixture
async def costs(base_url: str) -> AsyncIterator[Any]:
    async with AsyncOpenAI(base_url=base_url, admin_api_key="sk-admin", api_key=None, max_retries=0) as client:
        yield client.admin.organization.usage.costs


def seen(page: Any) -> list[dict[str | None, float]]:
    """Return the amounts of each bucket by line item."""
    return [{result.line_item: result.amount.value for result in bucket.results} for bucket in page.data]


async def test_calls_are_charged_by_line_item_also_those_that_were_cut(
    wire: Wire, simulator: Simulator, costs: Any
) -> None:
    await wire.ask({**ASK, "model": "gpt-4o-mini-2024-07-18;prompt_tokens=1000;cached_tokens=200;output_tokens=10"})
    cut = "sim-small;prompt_tokens=100;output_tokens=50;cut_after=3"
    await wire.ask({**ASK, "model": cut, "stream": True})
    await wire.ask({**ASK, "model": "sim-small;prompt_tokens=100;status=500"})
    await wire.ask({**ASK, "model": "unheard-of"})
    await wire.ask({"model": "sim-embedding;prompt_tokens=50", "input": "weir"}, "/v1/embeddings")
    calls = await simulator.account.wait_for_endings(5)
    page = await costs(start_time=calls[0].arrived_at, group_by=["line_item"])
    assert seen(page) == [
        {
            "gpt-4o-mini-2024-07-18, input": 0.00012,
            "gpt-4o-mini-2024-07-18, cached input": 0.000015,
            "gpt-4o-mini-2024-07-18, output": 0.000006,
            "sim-embedding, input": 0.000001,
            "sim-small, input": 0.0001,
            "sim-small, output": 0.000012,
        }
    ]
    assert (page.object, page.has_more, page.next_page) == ("page", False, None)
    assert page.data[0].results[0].amount.currency == "usd"


def test_a_call_is_charged_on_the_day_on_which_it_arrived_in_utc() -> None:
    moments = [datetime(2031, 5, 10, 23, 59, 59, 999_999, UTC), datetime(2031, 5, 11, tzinfo=UTC)]
    clock = iter(moments)
    account = Account(lambda: next(clock))
    for number in (1, 2):
        call = account.open("POST", "/v1/chat/completions", [])
        call.model, call.prompt_tokens = "sim-small", number
        account.close(call, Ending.CLIENT_LEFT)
    first = DAY // DAY_SECONDS
    assert account.costs.of_day(first) == {"sim-small, input": Decimal("0.000001")}
    assert account.costs.of_day(first + 1) == {"sim-small, input": Decimal("0.000002")}
    account.reset()
    assert account.costs.of_day(first) == {}


async def test_days_come_on_pages_and_without_a_group_as_one_sum(simulator: Simulator, costs: Any) -> None:
    for number in range(3):
        simulator.account.costs.add("a model, input", Decimal("1.5"), DAY + number * DAY_SECONDS)
        simulator.account.costs.add("web search", Decimal("0.25"), DAY + number * DAY_SECONDS + 86_399)
    question: dict[str, Any] = {"start_time": DAY, "end_time": DAY + 4 * DAY_SECONDS, "limit": 3}
    first = await costs(**question)
    assert first.has_more
    rest = await costs(**question, page=first.next_page)
    assert (rest.has_more, rest.next_page) == (False, None)
    assert seen(first) + seen(rest) == [{None: 1.75}, {None: 1.75}, {None: 1.75}, {}]
    begins = [bucket.start_time for bucket in [*first.data, *rest.data]]
    assert begins == [DAY + number * DAY_SECONDS for number in range(4)]
    by_item = await costs(start_time=DAY, end_time=DAY + 1, group_by=["line_item"])
    assert seen(by_item) == [{"a model, input": 1.5, "web search": 0.25}]


async def test_without_an_end_there_are_buckets_up_to_today(costs: Any) -> None:
    page = await costs(start_time=0, limit=2)
    assert (len(page.data), page.has_more) == (2, True)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "start_time"),
        ("start_time=soon", "start_time"),
        ("start_time=-1", "start_time"),
        ("start_time=86400&end_time=86400", "end_time"),
        ("start_time=0&limit=0", "limit"),
        ("start_time=0&limit=181", "limit"),
        ("start_time=0&bucket_width=1h", "bucket_width"),
        ("start_time=0&group_by[]=project_id", "group_by"),
        ("start_time=0&project_ids=a", "project_ids"),
        ("start_time=0&page=page_x", "page"),
        ("start_time=0&page=page_0", "page"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused_by_name(base_url: str, query: str, param: str) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{base_url}/organization/costs?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_the_sdk_gets_its_own_errors(costs: Any) -> None:
    with pytest.raises(BadRequestError):
        await costs(start_time=0, group_by=["project_id"])
    with pytest.raises(InternalServerError):
        await costs(start_time=0, extra_headers={"x-simulator": "status=500"})


async def test_another_key_is_refused(shared_simulator: tuple[Simulator, str]) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{shared_simulator[1]}/organization/costs?start_time=0")
    assert answer.status_code == 401
