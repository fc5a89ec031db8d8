import asyncio
import logging
import signal
import sys

import httpx
import pytest

from app.simulator.app import create_simulator
from app.simulator.server import serve_simulator
from tests.fixtures.ports import free_port
from tests.simulator.wire import ASK, Wire


@pytest.mark.parametrize("script", ["hang=2", "hang=before", "tokens_per_second=0.001", "latency_ms=600000"])
async def test_open_calls_are_cut_at_the_end_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, script: str
) -> None:
    simulator = create_simulator()
    with caplog.at_level(logging.WARNING):
        async with serve_simulator(simulator) as base_url:
            connection = await Wire(base_url).send({**ASK, "stream": True}, x_simulator=script)
            await simulator.account.wait_for_arrivals(1)
        received = await connection.read_all()
        await connection.close()
    assert not received.is_complete
    assert [call.ending for call in simulator.account.calls] == ["cut"]
    assert not caplog.records


async def test_a_flood_that_nobody_reads_does_not_delay_the_end(caplog: pytest.LogCaptureFixture) -> None:
    simulator = create_simulator()
    with caplog.at_level(logging.WARNING):
        async with serve_simulator(simulator) as base_url:
            connection = await Wire(base_url).send({**ASK, "stream": True}, x_simulator="output_tokens=1000000")
            await connection.read_event()
        connection.writer.transport.abort()
    assert [call.ending for call in simulator.account.calls] == ["cut"]
    assert not caplog.records


async def test_the_process_keeps_its_signal_handlers_and_its_loggers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    access = logging.getLogger("uvicorn.access")
    access_before = (list(access.handlers), access.propagate, access.level)
    async with serve_simulator(create_simulator()) as base_url:
        await Wire(base_url).ask(ASK)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        assert (list(access.handlers), access.propagate, access.level) == access_before


async def test_a_simulator_is_served_again_and_on_the_port_that_was_asked_for() -> None:
    port = free_port()
    simulator = create_simulator()
    for _ in range(2):
        async with serve_simulator(simulator, port) as base_url:
            assert base_url == f"http://127.0.0.1:{port}/v1"
            connection = await Wire(base_url).send(ASK, x_simulator="hang=before")
            await simulator.account.wait_for_arrivals(1)
            await connection.close()
            await simulator.account.wait_for_endings(1)
        simulator.account.reset()
    async with serve_simulator(simulator, port):
        with pytest.raises(OSError, match="in use"):
            async with serve_simulator(simulator, port):
                pass


async def test_many_calls_at_once_are_each_in_the_account_once() -> None:
    simulator = create_simulator()
    async with serve_simulator(simulator) as base_url:
        wire = Wire(base_url)
        await asyncio.gather(
            *(wire.ask({**ASK, "stream": number % 2 == 0}, x_request_id=f"weir-{number}") for number in range(100))
        )
    calls = simulator.account.calls
    assert sorted(call.request_id or "" for call in calls) == sorted(f"weir-{number}" for number in range(100))
    assert {call.ending for call in calls} == {"finished"}
    assert len({call.id for call in calls}) == 100


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_the_process_of_its_own_serves_until_it_is_told_to_stop(stop: signal.Signals) -> None:
    port = free_port()
    code = f"from app.simulator.server import run; print('ready', flush=True); run({port})"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 20)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.AsyncHTTPTransport(retries=8)
        ) as http:
            assert (await http.get("/v1/models")).json()["object"] == "list"
            opened = await Wire(f"http://127.0.0.1:{port}/v1").send({**ASK, "stream": True}, x_simulator="hang=0")
            await opened.read_event()
        process.send_signal(stop)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        await opened.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert output == b""
    assert process.returncode == (0 if stop is signal.SIGINT else -stop)
