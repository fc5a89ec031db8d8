"""One of three upstreams takes calls and never answers, or takes no connections: no call fails, none is left there."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from app.core.clock import monotonic_seconds
from app.upstreams.target_health import TargetHealth
from tests.fixtures.listening import listening, silent_address
from tests.fixtures.upstreams import Managed
from tests.fixtures.waiting import until

MODEL = "second-a"
CALLS = 120
CALLERS = 12


@pytest.fixture
def hanging() -> Iterator[str]:
    with silent_address() as address:
        yield address


@pytest.fixture
async def accepting() -> AsyncIterator[str]:
    """The address of a port that accepts connections, reads what comes, and says nothing."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass
        writer.close()

    async with listening(swallow) as address:
        yield address


def hole_of(managed: Managed) -> TargetHealth | None:
    return managed.weir.wiring.breakers._breakers.health.find(("hole", MODEL))


@pytest.mark.parametrize("kind", ["hanging", "accepting"])
async def test_with_one_of_three_upstreams_black_holed_every_call_is_answered(
    managed: Managed, kind: str, hanging: str, accepting: str
) -> None:
    await managed.weir.forget_upstreams()
    address = {"hanging": hanging, "accepting": accepting}[kind]
    await managed.add(name="second")
    await managed.add(name="third")
    await managed.add(name="hole", base_url=f"{address}/v1", test=False)
    statuses: list[int] = []

    async def ask() -> None:
        while len(statuses) < CALLS:
            statuses.append((await managed.chat(MODEL)).status_code)

    async with asyncio.timeout(30):  # one that is left in the hole would wait there for nine minutes
        await asyncio.gather(*(ask() for _ in range(CALLERS)))

    assert set(statuses) == {200}
    hole = hole_of(managed)
    assert hole is not None
    await until(lambda: hole.in_flight == 0)
    assert hole.breaker.state == "open"
    assert hole.breaker.needs_probe
    assert hole.breaker.ready_at(monotonic_seconds()) > monotonic_seconds()
