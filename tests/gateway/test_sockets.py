"""WebSockets on bad days: who may not come in, what is too much, who does not answer, and how everything ends."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from app.projects.service import DEFAULT_PROJECT_ID
from app.settings import Settings
from app.simulator.app import Simulator
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir, run_weir, with_upstream
from tests.gateway.socket_wire import REALTIME, RESPONSES, asks, message, opened, refused
from tests.gateway.test_realtime import entries, nothing_is_held

BOTH = pytest.mark.parametrize("path", [REALTIME, RESPONSES])


class TestTheDoor:
    """Before there is a socket."""

    @BOTH
    async def test_whoever_has_no_key_gets_json(self, weir: RunningWeir, path: str) -> None:
        for authorization in ("", "Bearer wk-nobody", "Basic abc"):
            status, error, headers = await refused(weir, path, headers={"authorization": authorization})
            assert (status, error["code"]) == (401, "invalid_api_key")
            assert headers["www-authenticate"].startswith("Bearer")
            assert headers["x-request-id"].startswith("req_")
            assert headers["x-content-type-options"] == "nosniff"
        assert weir.arrivals == []

    @BOTH
    async def test_a_key_that_may_not_call_models_gets_json(self, weir: RunningWeir, path: str) -> None:
        status, error, _ = await refused(weir, path, headers={"authorization": f"Bearer {weir.admin_key}"})
        assert (status, error["code"]) == (403, "insufficient_permissions")

    @BOTH
    async def test_browsers_name_their_key_in_a_subprotocol(self, weir: RunningWeir, path: str) -> None:
        names = ("realtime", f"openai-insecure-api-key.{weir.api_key}")
        async with opened(weir, path, headers={"authorization": ""}, subprotocols=names) as wire:
            assert wire.connection.subprotocol == "realtime"
        status, _, _ = await refused(weir, path, headers={"authorization": "Bearer wk-x"}, subprotocols=names)
        assert status == 401

    async def test_a_path_without_a_socket_is_not_found(self, weir: RunningWeir) -> None:
        for path in ("/v1/nothing", "/v1/chat/completions", "/", "/docs"):
            status, error, _ = await refused(weir, path)
            assert (status, error["code"]) == (404, "unknown_url")

    @pytest.mark.parametrize("path", ["/v1/realtime", "/v1/responses"])
    async def test_a_plain_request_is_told_to_upgrade(self, weir: RunningWeir, path: str) -> None:
        async with weir.http() as client:
            answer = await client.get(path)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert answer.json()["error"]["code"] == "upgrade_required"

    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ("", 400, "missing_required_parameter"),
            ("?model=", 400, "missing_required_parameter"),
            ("?call_id=rtc_1", 404, "not_supported_by_weir"),
        ],
    )
    async def test_an_address_that_leads_nowhere_is_refused(
        self, weir: RunningWeir, query: str, status: int, code: str
    ) -> None:
        found, error, _ = await refused(weir, f"/v1/realtime{query}")
        assert (found, error["code"]) == (status, code)

    async def test_too_many_headers_are_refused(self, weir: RunningWeir) -> None:
        status, error, _ = await refused(weir, headers={f"x-{number}": "1" for number in range(110)})
        assert (status, error["code"]) == (431, "headers_too_large")

    async def test_a_handshake_that_cannot_be_read_ends_the_connection(self, weir: RunningWeir) -> None:
        async with raw(weir, f"x-long: {'a' * 9_000}\r\n") as (reader, _):
            assert await reader.read() == b""

    async def test_a_host_that_is_not_served_is_refused(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"http.trusted_hosts": ("weir.example.org",)})
        assert (await refused(weir))[0] == 400


class TestUpstreams:
    """What an upstream can do instead of opening a socket."""

    @pytest.mark.parametrize(
        ("script", "status", "code"),
        [
            ("status=500", 502, "upstream_unreachable"),
            ("status=429", 502, "upstream_unreachable"),
            ("status=401", 502, "upstream_authentication_failed"),
        ],
    )
    async def test_one_that_refuses(self, weir: RunningWeir, script: str, status: int, code: str) -> None:
        found, error, _ = await refused(weir, headers={"x-simulator": script})
        assert (found, error["code"]) == (status, code)
        async with opened(weir, RESPONSES, headers={"x-simulator": script}):
            pass

    async def test_one_that_is_not_there(self, settings: Settings, shared_simulator: tuple[Simulator, str]) -> None:
        nowhere = with_upstream(settings, "http://127.0.0.1:9/v1")
        async with run_weir(nowhere, shared_simulator[0]) as weir:
            assert (await refused(weir))[1]["code"] == "upstream_unreachable"
            async with opened(weir, RESPONSES) as wire:
                await wire.send({"type": "response.create", "model": "sim-small", "input": "Hello"})
                assert (await wire.receive())["error"]["code"] == "upstream_unreachable"

    async def test_one_that_leads_elsewhere_is_not_followed(
        self, settings: Settings, shared_simulator: tuple[Simulator, str]
    ) -> None:
        visited = []

        async def redirect(request: web.Request) -> web.Response:
            visited.append(request.path)
            raise web.HTTPTemporaryRedirect("/elsewhere")

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", redirect)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            port = runner.addresses[0][1]
            async with run_weir(with_upstream(settings, f"http://127.0.0.1:{port}/v1"), shared_simulator[0]) as weir:
                status, error, _ = await refused(weir)
        finally:
            await runner.cleanup()
        assert (status, error["code"]) == (502, "upstream_unreachable")
        assert set(visited) == {"/v1/realtime"}


class TestAbuse:
    """What clients must not be able to do."""

    async def test_a_message_that_is_too_long_ends_the_socket(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"server.socket_message_size_bytes_max": 4_096})
        async with opened(weir) as wire:
            await wire.send("a" * 5_000)
            code, _, _ = await wire.closed()
        assert code == 1009
        await until(lambda: weir.arrivals[0].ending is not None)

    async def test_a_message_of_the_upstream_that_is_too_long_ends_the_socket(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"server.socket_message_size_bytes_max": 4_096})
        async with opened(weir) as wire:
            for _ in range(3):
                await wire.send({"type": "session.update", "session": {"instructions": "a" * 3_900}})
            code, _, _ = await wire.closed()
        assert code == 1001

    async def test_what_is_no_event_is_refused_and_the_session_goes_on(self, weir: RunningWeir) -> None:
        async with opened(weir) as wire:
            await wire.receive()
            for nonsense in ("{", "[]", b"{}", "null", '{"type": 1'):
                await wire.send(nonsense)
                assert (await wire.receive())["error"]["code"] == "invalid_json"
            await wire.send(asks())
            await wire.until("response.done")

    async def test_a_peer_that_owes_a_pong_is_cut_off(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"server.socket_ping_seconds": 0.2})
        async with raw(weir) as (reader, _):
            received = await reader.read()
        assert received.startswith(b"HTTP/1.1 101")
        assert b"keepalive ping timeout" in received
        await until(lambda: weir.arrivals[0].ending is not None)

    async def test_a_reader_that_does_not_read_stops_the_upstream(self, weir: RunningWeir) -> None:
        async with raw(weir, "x-simulator: output_tokens=100000\r\n") as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame('{"type": "response.create"}'))
            await until(lambda: len(weir.arrivals) == 2)
            sent = await standstill(lambda: weir.arrivals[1].completion_tokens_sent)
            # Of sound, every two tokens are more than 3 KB: this is what sockets buffer, and no more.
            assert 0 < sent < 20_000
        [entry] = await entries(weir)
        assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")

    async def test_a_writer_who_does_not_read_is_slowed_down(self, weir: RunningWeir) -> None:
        sent_megabytes = 0

        async def write() -> None:
            nonlocal sent_megabytes
            while sent_megabytes < 400:
                for _ in range(10):
                    writer.write(frame('{"type": "%s"}' % ("a" * 100_000)))
                await writer.drain()
                sent_megabytes += 1

        async with raw(weir) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writing = asyncio.create_task(write())
            stood_at = await standstill(lambda: sent_megabytes)
            writing.cancel()
        assert 0 < stood_at < 100

    async def test_silence_ends_the_socket(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"gateway.socket_idle_seconds": 0.5})
        async with opened(weir) as wire:
            code, reason, events = await wire.closed()
        assert (code, reason, events[-1]["error"]["code"]) == (1001, "session_idle", "session_idle")

    async def test_a_socket_does_not_last_for_ever(self, start_weir: StartWeir) -> None:
        weir = await start_weir({"gateway.socket_seconds_max": 0.5})
        async with opened(weir, RESPONSES) as wire:
            code, reason, events = await wire.closed()
        assert (code, reason, events[-1]["error"]["code"]) == (1001, "session_expired", "session_expired")


@BOTH
async def test_a_revoked_key_ends_its_sockets(weir: RunningWeir, path: str) -> None:
    key = await weir.wiring.keys.create("api", "short-lived", project_id=DEFAULT_PROJECT_ID)
    async with opened(weir, path, headers={"authorization": f"Bearer {key.value}"}) as wire:
        await weir.wiring.keys.revoke(key.id)
        code, reason, events = await wire.closed()
    assert (code, reason, events[-1]["error"]["code"]) == (1008, "invalid_api_key", "invalid_api_key")


async def test_a_key_is_not_refused_because_the_database_is_away(weir: RunningWeir) -> None:
    async with opened(weir) as wire:
        weir.wiring.keys.forget("")
        await wire.send(asks())
        await wire.until("response.done")


async def test_a_stopping_weir_lets_answers_end(settings: Settings, shared_simulator: tuple[Simulator, str]) -> None:
    simulator, base_url = shared_simulator
    simulator.account.reset()
    async with AsyncExitStack() as stack:
        weir = await stack.enter_async_context(run_weir(with_upstream(settings, base_url), simulator))
        async with (
            opened(weir, headers={"x-simulator": "tokens_per_second=50"}) as busy,
            opened(weir) as idle,
            opened(weir, RESPONSES) as unused,
        ):
            await busy.send(message(), asks())
            await busy.until("response.output_text.delta")
            stopping = asyncio.create_task(stack.aclose())
            assert (await idle.closed())[0] == 1012
            assert (await unused.closed())[0] == 1012
            code, _, events = await busy.closed()
        assert (code, events[-1]["type"]) == (1012, "response.done")
        await stopping


async def test_a_stopping_weir_settles_what_does_not_end_in_time(
    settings: Settings, weir: RunningWeir, shared_simulator: tuple[Simulator, str]
) -> None:
    simulator, base_url = shared_simulator
    server = settings.server.model_copy(update={"shutdown_grace_seconds": 1})
    hasty = with_upstream(settings.model_copy(update={"server": server}), base_url)
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(run_weir(hasty, simulator))
        async with opened(other, headers={"x-simulator": "hang=2"}) as wire:
            await wire.send(message(), asks())
            await wire.until("response.output_text.delta")
            stopping = asyncio.create_task(stack.aclose())
            code, _, _ = await wire.closed()
        await stopping
    assert code == 1012
    [entry] = await entries(weir)
    assert (entry["ending"], entry["outcome"]) == ("estimated", "client_left")
    await nothing_is_held(weir)


async def test_a_stopping_weir_does_not_wait_for_a_goodbye(
    settings: Settings, shared_simulator: tuple[Simulator, str]
) -> None:
    simulator, base_url = shared_simulator
    gateway = settings.gateway.model_copy(update={"socket_idle_seconds": 0.2})
    hasty = with_upstream(settings.model_copy(update={"gateway": gateway}), base_url)
    async with AsyncExitStack() as stack:
        weir = await stack.enter_async_context(run_weir(hasty, simulator))
        async with raw(weir) as (reader, _):
            await reader.readuntil(b"\x03\xe9session_idle")  # the close frame
            await stack.aclose()
            assert await reader.read() == b""


async def test_a_response_under_way_is_a_reservation_that_outlives_its_process(weir: RunningWeir) -> None:
    async with opened(weir, headers={"x-simulator": "hang=1"}) as wire:
        await wire.send(asks())
        await wire.until("response.output_text.delta")
        [row] = await weir.sql("SELECT operation, model, process_id, ceiling_nano FROM reservations")
        assert (row["operation"], row["model"]) == ("realtime", "sim-small")
        assert row["ceiling_nano"] > 0
        assert await weir.sql("SELECT 1 FROM processes WHERE id = $1", row["process_id"])


async def test_a_closed_socket_is_not_a_bug(weir: RunningWeir, capfd: Any) -> None:
    async with opened(weir) as wire:
        await wire.send(asks())
        wire.connection.transport.abort()
    await entries(weir)
    assert '"bug"' not in capfd.readouterr().out


@asynccontextmanager
async def raw(weir: RunningWeir, headers: str = "") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that asks for a WebSocket, and then does nothing by itself."""
    address = urlsplit(weir.base_url)
    assert address.hostname
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # the system does not make it larger then
    connection.connect((address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=65_536)
    writer.write(
        f"GET {REALTIME} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {weir.api_key}\r\n"
        "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
        f"sec-websocket-key: {base64.b64encode(os.urandom(16)).decode()}\r\n{headers}\r\n".encode()
    )
    try:
        async with asyncio.timeout(30):
            yield reader, writer
    finally:
        writer.transport.abort()


def frame(text: str) -> bytes:
    """A message of a client (RFC 6455, section 5.2), masked with zeros."""
    data = text.encode()
    return b"\x81\xff" + len(data).to_bytes(8) + bytes(4) + data


async def standstill(count: Callable[[], int]) -> int:
    """What *count* answers once it has stood still for a while."""
    seen: list[int] = []

    def stands() -> bool:
        seen.append(count())
        return len(seen) > 100 and seen[-1] > 0 and len(set(seen[-100:])) == 1

    await until(stands)
    return seen[-1]
