"""The provider's side over real sockets: the simulator's account, and answers that it would never give."""

from datetime import date
from decimal import Decimal

import pytest

from app.reconciliation import client
from app.reconciliation.client import ProviderClient
from app.reconciliation.failure import ProviderFailed
from app.simulator.app import Simulator
from tests.fixtures.weir import UPSTREAM_KEY
from tests.reconciliation.conftest import DAY, MIDNIGHT, Provider, json_answer, page


async def test_the_days_line_items_come_with_exact_amounts(
    simulator: Simulator, shared_simulator: tuple[Simulator, str]
) -> None:
    moment = int(MIDNIGHT.timestamp())
    simulator.account.costs.add("a, input", Decimal("0.1"), moment)
    simulator.account.costs.add("a, output", Decimal("0.000000075"), moment + 86_399)
    simulator.account.costs.add("a, input", Decimal(8), moment - 1)
    simulator.account.costs.add("a, input", Decimal(16), moment + 86_400)
    provider = ProviderClient("openai", shared_simulator[1], UPSTREAM_KEY)
    assert await provider.list_costs(DAY) == [("a, input", Decimal("0.1")), ("a, output", Decimal("0.000000075"))]
    assert await provider.list_costs(date(2031, 5, 20)) == []


async def test_every_page_is_read(provider: Provider) -> None:
    provider.pages(page([("a", 1), ("b", 2)], "1"), page([], "2"), page([("a", 4), (None, 8)]))
    costs = await ProviderClient("openai", provider.base_url, "sk-admin").list_costs(DAY)
    assert costs == [("a", Decimal(1)), ("b", Decimal(2)), ("a", Decimal(4)), ("", Decimal(8))]
    assert len(provider.lines) == 3
    begin = int(MIDNIGHT.timestamp())
    for line in provider.lines:
        assert line.startswith("GET /v1/organization/costs?")
        assert f"start_time={begin}&" in line
        assert f"end_time={begin + 86_400}&" in line
        assert "line_item" in line


async def test_pages_without_end_are_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAGES_MAX", 5)
    provider.pages(page([("a", 1)], "0"))
    with pytest.raises(ProviderFailed, match="it has more than 5 pages for one day"):
        await ProviderClient("openai", provider.base_url, "sk-admin").list_costs(DAY)
    assert len(provider.lines) == 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (json_answer(b"<html>"), "the provider's answer makes no sense: it is not JSON"),
        (json_answer({}), "the provider's answer makes no sense: object: Field required"),
        (json_answer({"error": {"message": "sk-adm***ret"}}, 401), "the provider answered 401: is WEIR_RECONCILIATION"),
        (json_answer({"error": {"message": "no"}}, 403), "the provider answered 403: is WEIR_RECONCILIATION"),
        (json_answer({"error": {"message": "no"}}, 500), "the provider answered 500"),
        (json_answer({"error": {"message": "no"}}, 404), "the provider answered 404"),
    ],
)
async def test_an_answer_that_is_none_is_named(provider: Provider, answer: bytes, message: str) -> None:
    provider.answer = lambda _: answer
    with pytest.raises(ProviderFailed) as failed:
        await ProviderClient("openai", provider.base_url, "sk-admin-secret").list_costs(DAY)
    assert str(failed.value).startswith(message)
    assert "sk-" not in str(failed.value)


async def test_a_wrong_key_is_refused_by_the_simulator_too(shared_simulator: tuple[Simulator, str]) -> None:
    with pytest.raises(ProviderFailed, match="the provider answered 401"):
        await ProviderClient("openai", shared_simulator[1], "sk-wrong").list_costs(DAY)


async def test_a_provider_that_is_not_there_is_asked_again_and_named() -> None:
    with pytest.raises(ProviderFailed, match="the provider cannot be reached: ConnectError"):
        await ProviderClient("openai", "http://127.0.0.1:1/v1", "sk-admin").list_costs(DAY)


async def test_a_failure_that_passes_is_asked_again(provider: Provider) -> None:
    answers = iter([b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n", json_answer(page([("a", 1)]))])
    provider.answer = lambda _: next(answers)
    assert await ProviderClient("openai", provider.base_url, "sk-admin").list_costs(DAY) == [("a", Decimal(1))]


@pytest.mark.parametrize("setting", ["_TIMEOUT_SECONDS", "_TOTAL_SECONDS"])
async def test_a_provider_that_is_silent_is_given_up(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(client, setting, 0.2)
    provider.gate.clear()
    try:
        with pytest.raises(ProviderFailed, match="the provider did not answer in time"):
            await ProviderClient("openai", provider.base_url, "sk-admin").list_costs(DAY)
    finally:
        provider.gate.set()
