"""Weir asks by itself whether an upstream is there: one that is, one that refuses, and one that never answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.clock import monotonic_seconds
from app.settings import Settings
from app.upstreams.breaker import BreakerRules
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import of_failure
from app.upstreams.health import Health
from app.upstreams.probe_service import ProbeService
from app.upstreams.routing import Target
from app.upstreams.target_health import TargetHealth
from app.upstreams.ticket import Ticket
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.listening import listening
from tests.fixtures.ports import NOBODY_LISTENS
from tests.fixtures.waiting import until
from tests.upstreams.knowing import make_health, make_target

RULES = BreakerRules(silent_calls_max=1, open_seconds=0.001)


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(Settings().upstream)
    yield client
    await client.close()


@pytest.fixture
def upstream() -> CannedUpstream:
    return CannedUpstream()


@pytest.fixture
async def target(upstream: CannedUpstream) -> AsyncIterator[Target]:
    """Yield a model at the upstream that is canned."""
    async with listening(upstream.serve) as address:
        yield make_target("one", base_url=f"{address}/v1", api_key="sk-probe")


def begin(health: Health, target: Target, now: float) -> Ticket:
    ticket = health.begin(target, now)
    assert ticket is not None
    return ticket


def silenced(health: Health, target: Target) -> TargetHealth:
    """Open the breaker of *target* by a call to nobody; its time is over at once."""
    now = monotonic_seconds()
    ticket = begin(health, target, now)
    ticket.failed(of_failure("not_sent"), now)
    ticket.end()
    known = health.of(target, now)
    known.breaker.until = now
    return known


@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_whoever_answers_anything_is_there(
    client: UpstreamClient, upstream: CannedUpstream, target: Target, status: int
) -> None:
    upstream.answers_json({"data": []}, status)
    health = make_health(breaker=RULES)
    known = silenced(health, target)

    await ProbeService(client, health, 5.0).probe([known])

    assert not known.breaker.needs_probe
    assert health.begin(target, monotonic_seconds()) is not None
    (request,) = upstream.requests
    assert request.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"authorization: bearer sk-probe" in request.lower()


async def test_an_answer_that_nobody_can_read_is_one_too(
    client: UpstreamClient, upstream: CannedUpstream, target: Target
) -> None:
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx")
    health = make_health(breaker=RULES)
    known = silenced(health, target)

    await ProbeService(client, health, 5.0).probe([known])

    assert not known.breaker.needs_probe


async def test_nobody_there_keeps_it_open(client: UpstreamClient) -> None:
    target = make_target("one", base_url=f"{NOBODY_LISTENS}/v1")
    health = make_health(breaker=RULES)
    known = silenced(health, target)
    before = known.breaker.until

    await ProbeService(client, health, 5.0).probe([known])

    assert known.breaker.needs_probe
    assert known.breaker.until > before


async def test_a_silent_upstream_is_stalled_by_its_probe(
    client: UpstreamClient, upstream: CannedUpstream, target: Target
) -> None:
    never = asyncio.Event()
    upstream.answers(never)
    health = make_health(stall_seconds=0.01)
    ticket = begin(health, target, monotonic_seconds() - 1.0)
    probes = ProbeService(client, health, 0.05)
    ((known,),) = probes.due(monotonic_seconds())

    await probes.probe([known])

    assert known.is_stalled(monotonic_seconds())
    assert ticket.is_stranded(monotonic_seconds())
    never.set()
    await until(lambda: upstream.open_count == 0)


async def test_no_connection_to_spare_says_nothing(upstream: CannedUpstream, target: Target) -> None:
    settings = Settings().upstream.model_copy(update={"connections_max": 1})
    client, health, never = UpstreamClient(settings), make_health(breaker=RULES), asyncio.Event()
    upstream.answers(never)
    known = silenced(health, target)
    other = asyncio.create_task(ProbeService(client, health, 60.0).probe([known]))
    await until(lambda: upstream.open_count == 1)
    before = known.breaker.until

    await ProbeService(client, health, 1.0).probe([known])

    assert (known.breaker.needs_probe, known.breaker.until) == (True, before)
    never.set()
    await other
    await until(lambda: upstream.open_count == 0)
    await client.close()


def test_an_upstream_is_asked_once_for_all_its_models_and_not_again_at_once() -> None:
    health = make_health(breaker=RULES)
    one, two, other = make_target("one"), make_target("one", "gpt-5"), make_target("two")
    for target in (one, two, other):
        silenced(health, target)
    begin(health, make_target("three"), monotonic_seconds())
    probes = ProbeService(UpstreamClient.__new__(UpstreamClient), health, 1.0)
    now = monotonic_seconds()

    found = [[known.key for known in targets] for targets in probes.due(now)]

    assert found == [[("one", one.model), ("one", "gpt-5")], [("two", one.model)]]
    assert probes.due(now + 1.9) == [[health.of(make_target("three"), now)]]
    assert len(probes.due(now + 2.1)) == 2


async def test_it_goes_on_until_it_is_stopped(client: UpstreamClient, upstream: CannedUpstream, target: Target) -> None:
    upstream.answers_json({"data": []})
    health = make_health(breaker=RULES)
    known = silenced(health, target)
    working = asyncio.create_task(ProbeService(client, health, 5.0).keep_probing())
    await until(lambda: not known.breaker.needs_probe)

    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
