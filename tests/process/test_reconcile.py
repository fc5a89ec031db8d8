"""`weir reconcile` as a person runs it, with the simulator for a provider."""

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import Queue

import pytest

from app.core.clock import utc_now
from app.settings import Settings
from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator
from tests.fixtures.servers import PEPPER
from tests.fixtures.weir import UPSTREAM_KEY
from tests.process.conftest import WeirCommand
from tests.process.weir_process import PATIENCE_SECONDS

_DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
_NOBODY_LISTENS = "http://127.0.0.1:1/v1"
_KEY = "WEIR_RECONCILIATION__ADMIN_API_KEY"


@pytest.fixture
def own_simulator() -> Iterator[tuple[Simulator, str]]:
    """Serve a simulator from a thread: commands run in this one, and it waits for them."""
    simulator, started, stop = create_simulator(api_key=UPSTREAM_KEY), Queue[str](), threading.Event()

    async def serve() -> None:
        async with serve_simulator(simulator) as base_url:
            started.put(base_url)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    yield simulator, started.get(timeout=PATIENCE_SECONDS)
    stop.set()
    thread.join(PATIENCE_SECONDS)


def test_a_day_is_compared_and_shown_and_a_difference_is_exit_1(
    weir_command: WeirCommand, external: dict[str, str], own_simulator: tuple[Simulator, str]
) -> None:
    simulator, base_url = own_simulator
    variables = {**external, _KEY: UPSTREAM_KEY, "WEIR_RECONCILIATION__BASE_URL": base_url}
    finished = weir_command("reconcile", "--day", "2026-11-21", **variables)
    assert (finished.status, finished.errors) == (0, "")
    assert finished.output.endswith("No line item differs by more than 0.01.\n")

    simulator.account.costs.add("web search", Decimal("1.25"), int(_DAY.timestamp()))
    finished = weir_command("reconcile", "--day", "2026-11-21", **variables)
    assert (finished.status, finished.errors) == (1, "")
    assert re.search(r"^web search +0\.000000000 +1\.250000000 +\+1\.250000000$", finished.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("variables", "status", "message"),
    [
        ({}, 2, f"weir: the configuration cannot be used:\n  {_KEY}: not set; it takes an admin key of the"),
        ({_KEY: "sk-admin"}, 1, "weir: the provider cannot be reached: ConnectError\n"),
        ({_KEY: "sk-admin", "WEIR_RECONCILIATION__BASE_URL": "api.openai.com"}, 2, "WEIR_RECONCILIATION__BASE_URL: "),
        ({_KEY: "sk-a\nb"}, 2, f"{_KEY}: must be printable ASCII"),
        ({_KEY: "sk-admin", "WEIR_RECONCILIATION__TOLERANCE_USD": "-1"}, 2, "WEIR_RECONCILIATION__TOLERANCE_USD: "),
        ({_KEY: "sk-admin", "WEIR_RECONCILIATION__TOLERANCE_USD": "nan"}, 2, "WEIR_RECONCILIATION__TOLERANCE_USD: "),
    ],
)
def test_what_is_missing_or_away_is_named(
    weir_command: WeirCommand, external: dict[str, str], variables: dict[str, str], status: int, message: str
) -> None:
    variables = {"OPENAI_BASE_URL": _NOBODY_LISTENS, **external, **variables}
    finished = weir_command("reconcile", "--day", "2026-11-21", **variables)
    assert (finished.status, finished.output) == (status, "")
    assert message in finished.errors
    assert "sk-a" not in finished.errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--day", "2026-11-31"), "does not match the format"),
        (("--day", "yesterday"), "does not match the format"),
        (("--day", f"{utc_now() + timedelta(days=2):%Y-%m-%d}"), "has not begun"),
        (("--day", "9999-12-31"), "has not begun"),
        ((), "Missing option '--day'"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_a_day_that_cannot_be_compared_is_exit_2(
    weir_command: WeirCommand, external: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    variables = {**external, _KEY: "sk-admin", "OPENAI_BASE_URL": _NOBODY_LISTENS}
    finished = weir_command("reconcile", *arguments, **variables)
    assert (finished.status, finished.output) == (2, "")
    assert message in " ".join(finished.errors.replace("│", " ").split())


def test_a_day_long_ago_is_a_day(weir_command: WeirCommand, external: dict[str, str]) -> None:
    variables = {**external, _KEY: "sk-admin", "OPENAI_BASE_URL": _NOBODY_LISTENS}
    finished = weir_command("reconcile", "--day", "0001-01-01", **variables)
    assert (finished.status, finished.errors) == (1, "weir: the provider cannot be reached: ConnectError\n")


def test_a_schema_that_is_behind_is_refused(weir_command: WeirCommand, empty_settings: Settings) -> None:
    assert empty_settings.database_url
    url = empty_settings.database_url.get_secret_value()
    finished = weir_command(
        "reconcile",
        "--day",
        "2026-11-21",
        WEIR_DATABASE_URL=url,
        WEIR_REDIS_URL="redis://127.0.0.1:1",
        WEIR_KEYS__PEPPER=PEPPER,
        **{_KEY: "sk-admin"},
    )
    assert finished.status == 1
    assert "run `weir migrate`" in finished.errors


def test_help_says_what_it_compares(weir_command: WeirCommand) -> None:
    finished = weir_command("reconcile", "--help")
    assert finished.status == 0
    assert "--day" in finished.output
    assert _KEY in finished.output
