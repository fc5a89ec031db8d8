"""What the HTTP client says of upstreams that cannot be reached, or answer what nobody can read; uploads in pieces."""

import asyncio
import errno
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from multidict import CIMultiDict
from yarl import URL

from app.core.keep_alive import make_socket
from app.settings import Settings
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Timeouts
from app.upstreams.waits import Waits
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.listening import silent_address
from tests.fixtures.ports import NOBODY_LISTENS
from tests.fixtures.weir import RunningWeir
from tests.upstreams.certificate import tls_context
from tests.upstreams.connections import in_use
from tests.upstreams.names import Names

HEADERS: CIMultiDict[str] = CIMultiDict()
UPLOAD = CIMultiDict({"content-type": "application/octet-stream", "content-length": "6"})


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(Settings().upstream, Names(nowhere_example=[["127.0.0.1"]]))
    yield client
    assert in_use(client) == 0
    await client.close()


@pytest.fixture
def url(canned_weir: RunningWeir, canned: CannedUpstream) -> URL:
    return URL(canned_weir.settings.openai_base_url)


@pytest.fixture
async def tls_port(tmp_path: Path) -> AsyncIterator[int]:
    """A port behind which somebody speaks TLS with a certificate of their own making."""
    context, _ = tls_context(tmp_path)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def failure_of(client: UpstreamClient, url: URL, timeouts: Timeouts | None = None) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        await client.send("GET", url, HEADERS, None, timeouts or Timeouts())
    return caught.value


def test_an_upstreams_own_timeouts_go_before_those_of_the_settings() -> None:
    settings = Settings().upstream
    own = Timeouts(connect_timeout_seconds=0.3, between_chunks_timeout_seconds=7, total_timeout_seconds=20)

    assert Waits.of(settings, Timeouts(), 100.0, has_alternative=False) == (5.0, 540.0, 120.0, 3_700.0)
    assert Waits.of(settings, own, 100.0, has_alternative=False) == (0.3, 540.0, 7.0, 120.0)
    assert Waits.of(settings, Timeouts(first_byte_timeout_seconds=1), 0.0, has_alternative=True)[:2] == (0.5, 1.0)
    assert Waits.of(settings, own, 0.0, has_alternative=True).connect_seconds == 0.3
    assert Waits.of(settings, Timeouts(first_byte_timeout_seconds=2), 0.0, has_alternative=False).connect_seconds == 1.8


async def test_a_name_that_nobody_knows_is_told_apart(client: UpstreamClient) -> None:
    found = await failure_of(client, URL("http://unknown.example/v1"))

    assert (found.failure, found.reason) == (
        "not_sent",
        "its name cannot be resolved: [Errno -2] Name or service not known",
    )


async def test_a_server_that_speaks_no_tls_is_told_apart(client: UpstreamClient) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found = await failure_of(client, URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))

    assert found.failure == "not_sent"
    assert found.reason.startswith("it cannot be spoken to with TLS: ")


async def test_a_certificate_that_nobody_vouches_for_is_told_apart(client: UpstreamClient, tls_port: int) -> None:
    found = await failure_of(client, URL(f"https://127.0.0.1:{tls_port}/"))

    assert found.failure == "not_sent"
    assert found.reason.startswith("its TLS certificate is not valid: ")
    assert "self-signed" in found.reason


async def test_a_port_where_nobody_listens_is_told_apart(client: UpstreamClient) -> None:
    found = await failure_of(client, URL(NOBODY_LISTENS))

    assert found.failure == "not_sent"
    assert found.reason.startswith(f"no connection: [Errno {errno.ECONNREFUSED}]")


async def test_a_connection_that_hangs_is_given_up_sooner_while_another_upstream_could_answer() -> None:
    settings = Settings().upstream.model_copy(update={"connect_timeout_seconds": 60.0})
    client = UpstreamClient(settings.model_copy(update={"failover_connect_timeout_seconds": 0.05}))
    try:
        with silent_address() as address:
            async with asyncio.timeout(10):
                with pytest.raises(UpstreamFailed, match="no connection in time") as caught:
                    await client.send("GET", URL(address), HEADERS, None, has_alternative=True)
    finally:
        await client.close()
    assert caught.value.failure == "not_sent"


async def test_silence_is_measured_by_the_upstreams_own_timeouts(
    client: UpstreamClient, canned: CannedUpstream, url: URL
) -> None:
    never = asyncio.Event()
    canned.answers(never)
    assert (await failure_of(client, url, Timeouts(first_byte_timeout_seconds=0.05))).failure == "timed_out"

    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", never)
    for timeouts in (Timeouts(between_chunks_timeout_seconds=0.05), Timeouts(total_timeout_seconds=0.2)):
        answer = await client.send("GET", url, HEADERS, None, timeouts)
        with pytest.raises(UpstreamFailed) as caught:
            await answer.read_all()
        assert caught.value.failure == "timed_out"
    never.set()


async def test_an_answer_ends_in_time_also_if_its_upstream_never_pauses(
    client: UpstreamClient, canned: CannedUpstream, url: URL
) -> None:
    canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", *[b"x" * 200_000] * 200)
    answer = await client.send("GET", url, HEADERS, None, Timeouts(total_timeout_seconds=0.3))
    assert await answer.read_some()
    await asyncio.sleep(0.4)
    with pytest.raises(UpstreamFailed, match="too long in total") as caught:
        await answer.read_some()  # for which there is something
    assert caught.value.failure == "timed_out"


@pytest.mark.parametrize("encoding", ["gzip", "br", "Deflate, gzip"])
async def test_a_compressed_answer_is_not_unpacked(
    client: UpstreamClient, canned: CannedUpstream, url: URL, encoding: str
) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(bomb)}\r\n\r\n"
    canned.answers(head.encode() + bomb)

    found = await failure_of(client, url)

    assert found.failure == "nonsense"
    assert encoding.lower() in found.reason


async def test_the_status_of_a_compressed_error_counts_and_its_bytes_stay_as_they_are(
    client: UpstreamClient, canned: CannedUpstream, url: URL
) -> None:
    body = gzip.compress(b"<h1>Bad Gateway</h1>")
    head = f"HTTP/1.1 502 Bad Gateway\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
    canned.answers(head.encode() + body)

    with await client.send("GET", url, HEADERS, None) as answer:
        assert (answer.status, await answer.read_all()) == (502, body)


async def read_to_the_end(answer: UpstreamAnswer) -> None:
    while await answer.read_some():
        pass


async def pieces(*parts: bytes | asyncio.Event | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        if isinstance(part, asyncio.Event):
            await part.wait()
        else:
            yield part


async def test_a_body_in_pieces_arrives_whole(client: UpstreamClient, canned: CannedUpstream, url: URL) -> None:
    canned.answers_json({"ok": True})

    with await client.send("POST", url, UPLOAD, pieces(b"abc", b"", b"def")) as answer:
        assert answer.status == 200

    assert canned.requests[0].endswith(b"\r\n\r\nabcdef")
    assert b"transfer-encoding" not in canned.requests[0].lower()


async def test_what_a_body_fails_with_is_raised(client: UpstreamClient, canned: CannedUpstream, url: URL) -> None:
    canned.answers_json({"ok": True})

    with pytest.raises(ConnectionResetError, match="the caller left"):
        await client.send("POST", url, UPLOAD, pieces(b"abc", ConnectionResetError("the caller left")))

    assert canned.requests == []


async def test_an_answer_may_come_before_the_last_piece(client: UpstreamClient) -> None:
    rest = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        rest.set()
        await reader.read(6)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with await client.send("POST", url, UPLOAD, pieces(b"abc", rest, b"def")) as answer:
            assert answer.status == 413
            assert await answer.read_all() == b""


async def test_a_large_body_is_sent_whole(client: UpstreamClient, canned: CannedUpstream, url: URL) -> None:
    body = bytes(3_000_000)
    canned.answers_json({"ok": True})

    with await client.send("POST", url, HEADERS, body) as answer:
        assert answer.status == 200

    assert len(canned.requests[0]) > len(body)


def test_sockets_notice_that_nobody_is_there_any_more() -> None:
    with make_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def test_a_system_without_these_options_gets_a_plain_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    with make_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", None)) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize(
    ("length", "reason"), [(5, "its answer is longer than 3 bytes"), (10, "the connection ended inside its answer")]
)
async def test_an_answer_that_breaks_off_or_is_too_long_is_lost(
    canned: CannedUpstream, url: URL, length: int, reason: str
) -> None:
    client = UpstreamClient(Settings().upstream.model_copy(update={"answer_size_bytes_max": 3}))
    canned.answers(f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nabcde".encode())
    answer = await client.send("GET", url, HEADERS, None)
    with pytest.raises(UpstreamFailed, match=reason) as caught:
        await (answer.read_all() if length == 5 else read_to_the_end(answer))
    answer.close()
    answer.close()

    assert caught.value.failure == "lost"
    assert in_use(client) == 0
    await client.close()
