"""Connections to upstreams: when one is used again, what is too much, and bodies that leave in pieces."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from multidict import CIMultiDict
from yarl import URL

from app.settings import Settings
from app.upstreams import pool_client as pool
from app.upstreams.client import HttpAnswer, UpstreamClient
from app.upstreams.connection_client import Connection
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Timeouts
from app.upstreams.upload_client import Upload
from app.upstreams.waits import Waits
from tests.fixtures.waiting import until
from tests.upstreams.certificate import tls_context
from tests.upstreams.connections import idle, in_use
from tests.upstreams.names import Names

HEADERS: CIMultiDict[str] = CIMultiDict()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD_BYTES_MAX = 32_768


class Upstream:
    """Answers each request on each connection with the next of its answers, and ends the connection after the last."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.answers = list(answers)
        self.connections: list[asyncio.StreamWriter] = []
        self.requests: list[bytes] = []
        self.url = URL()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with contextlib.suppress(ConnectionError):
            while self.answers and (request := await reader.read(65_536)):
                self.requests.append(request)
                writer.write(self.answers.pop(0))
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(*answers: bytes) -> AsyncIterator[Upstream]:
    upstream = Upstream(answers)
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0) as server:
        upstream.url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        yield upstream


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(Settings().upstream)
    yield client
    assert in_use(client) == 0
    await client.close()


async def ask(client: UpstreamClient, url: URL, method: str = "GET") -> tuple[int, bytes]:
    with await client.send(method, url, HEADERS, None, Timeouts(first_byte_timeout_seconds=20)) as answer:
        return answer.status, await answer.read_all()


async def until_idle(client: UpstreamClient, count: int) -> None:
    async with asyncio.timeout(20):
        while idle(client) != count:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0)


async def test_the_clock_of_a_wait_that_is_over_disturbs_nobody(client: UpstreamClient) -> None:
    async with serving(OK, OK) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None, Timeouts(first_byte_timeout_seconds=0.05)) as answer:
            assert isinstance(answer, HttpAnswer)
            connection = answer._connection
            assert await answer.read_all() == b"ok"
        async with asyncio.timeout(20):
            while connection._timer is not None:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        assert await ask(client, upstream.url) == (200, b"ok")
        assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    ("first", "status", "body", "connections"),
    [
        (OK, 200, b"ok", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 1),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"ok", 1),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", 1),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", 2),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nokHTTP/1.1", 200, b"ok", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", 2),
        (OK + OK, 200, b"ok", 2),
        (OK + b"more", 200, b"ok", 2),
    ],
    ids=["length", "no body", "trailers", "informational", "close", "close, more", "1.0", "two at once", "more"],
)
async def test_only_a_connection_that_stands_where_it_should_is_used_again(
    client: UpstreamClient, first: bytes, status: int, body: bytes, connections: int
) -> None:
    async with serving(first, OK) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            assert (answer.status, await answer.read_all()) == (status, body)
            assert not {"link", "x-sum"} & {name.decode() for name, _ in answer.raw_headers}
        assert await ask(client, upstream.url) == (200, b"ok")
        assert len(upstream.connections) == connections


async def test_an_answer_is_read_once_nothing_but_its_end_is_left(client: UpstreamClient) -> None:
    async with serving(OK, OK.replace(b"length: 2", b"length: 3")) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            found = [(answer.is_read, await answer.read_some()) for _ in range(2)]
        # And not once it is closed, whatever becomes of its connection then.
        assert (found, answer.is_read) == ([(False, b"ok"), (True, b"")], False)
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            assert await answer.read_some() == b"ok"
            assert not answer.is_read


async def test_an_answer_without_a_length_ends_with_its_connection(client: UpstreamClient) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nall of it") as upstream:
        assert await ask(client, upstream.url) == (200, b"all of it")
    assert idle(client) == 0


async def test_the_answer_to_a_head_request_has_no_body(client: UpstreamClient) -> None:
    async with serving(OK, OK) as upstream:
        assert await ask(client, upstream.url, "HEAD") == (200, b"")
        assert await ask(client, upstream.url) == (200, b"ok")
        assert upstream.requests[0].startswith(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:")
        assert len(upstream.connections) == 2


async def test_a_body_that_nobody_read_is_no_hindrance_once_it_is_here(client: UpstreamClient) -> None:
    async with serving(OK, OK) as upstream:
        (await client.send("GET", upstream.url, HEADERS, None)).close()
        assert await ask(client, upstream.url) == (200, b"ok")
        assert len(upstream.connections) == 1


async def test_a_connection_that_is_being_closed_is_not_used_again(client: UpstreamClient) -> None:
    async with serving(OK, OK) as upstream:
        await ask(client, upstream.url)
        [[connection]] = client._pool._idle.values()
        connection.close()
        assert await ask(client, upstream.url) == (200, b"ok")
        assert len(upstream.connections) == 2


async def test_a_head_may_come_in_parts(client: UpstreamClient) -> None:
    rest = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:20])
        await rest.wait()
        writer.write(OK[20:])
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        asking = asyncio.create_task(ask(client, url))
        await asyncio.sleep(0.05)
        rest.set()
        assert await asking == (200, b"ok")


async def test_nothing_of_the_next_answer_is_read_by_who_has_closed_the_last_one(client: UpstreamClient) -> None:
    async with serving(OK, OK) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as first:
            assert await first.read_all() == b"ok"
        with await client.send("GET", upstream.url, HEADERS, None) as second:
            with pytest.raises(UpstreamFailed, match="the answer was closed before"):
                await first.read_some()
            assert await second.read_all() == b"ok"
        assert len(upstream.connections) == 1


@pytest.mark.parametrize("last", [None, b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["ends", "says so"])
async def test_a_connection_that_an_upstream_gives_up_meanwhile_is_forgotten(
    client: UpstreamClient, last: bytes | None
) -> None:
    async with serving(OK, OK) as upstream:
        await ask(client, upstream.url)
        assert idle(client) == 1
        if last is None:
            upstream.connections[0].close()
        else:
            upstream.connections[0].write(last)
        await until_idle(client, 0)
        assert await ask(client, upstream.url) == (200, b"ok")


async def test_a_connection_that_nobody_needs_is_closed_after_a_while(
    client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(OK, OK) as upstream:
        await ask(client, upstream.url)
        client._pool._close_idle()  # it has not been idle for long enough
        assert idle(client) == 1
        monkeypatch.setattr(pool, "_IDLE_SECONDS_MAX", 0.0)
        client._pool._close_idle()
        assert idle(client) == 0
        assert client._pool._sweep is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n") * 2_000, "a head of more than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\nx-large: " + b"x" * 200_000, "a head of more than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\nx-large: " + b"x" * 40_000 + b"\r\n\r\n", "a head of more than 32768 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "it changes the protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer is not HTTP: "),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "its answer is not HTTP: "),
        (b"", "the connection ended before its answer"),
    ],
    ids=["hints without end", "an endless header", "a giant header", "upgraded", "ssh", "two lengths", "nothing"],
)
async def test_what_is_no_answer_says_why(client: UpstreamClient, answer: bytes, reason: str) -> None:
    async with serving(answer) as upstream:
        with pytest.raises(UpstreamFailed, match=reason) as caught:
            await ask(client, upstream.url)
    assert caught.value.failure == "lost"


async def test_what_had_come_before_an_answer_broke_is_read_first(client: UpstreamClient) -> None:
    broken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n"
    async with serving(broken) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            assert await answer.read_some() == b"ok"
            with pytest.raises(UpstreamFailed, match="its answer is not HTTP"):
                await answer.read_some()


async def test_a_reader_with_little_patience_asks_again(client: UpstreamClient) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok", b"ok") as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            assert await answer.read_some() == b"ok"
            assert [await answer.read_soon(0.01) for _ in range(2)] == [None, None]
            upstream.connections[0].write(b"ok")
            assert await answer.read_some() == b"ok"


async def test_what_is_not_a_piece_of_the_body_yet_is_waited_on(client: UpstreamClient) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(head, b"") as upstream, asyncio.timeout(20):
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            connection = answer._connection  # type: ignore[attr-defined]
            come = connection._unread_bytes
            reading = asyncio.ensure_future(answer.read_some())
            upstream.connections[0].write(b"2\r\n")
            await until(lambda: connection._unread_bytes > come)
            upstream.connections[0].write(b"ok\r\n0\r\n\r\n")
            assert await reading == b"ok"


async def test_a_timer_that_outlives_its_wait_does_not_end_the_next_one(client: UpstreamClient) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"") as upstream, asyncio.timeout(20):
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            connection = answer._connection  # type: ignore[attr-defined]
            reading = asyncio.ensure_future(answer.read_soon(0.5))
            upstream.connections[0].write(b"ok")
            assert await reading == b"ok"
            timer = connection._timer
            reading = asyncio.ensure_future(answer.read_soon(15))
            await until(lambda: connection._timer is not timer)
            assert not reading.done()
            upstream.connections[0].write(b"ok")
            assert await reading == b"ok"


async def test_an_upstream_waits_for_a_slow_reader(client: UpstreamClient) -> None:
    size = 20_000_000
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)) as upstream:
        with await client.send("GET", upstream.url, HEADERS, None) as answer:
            connection = answer._connection  # type: ignore[attr-defined]
            async with asyncio.timeout(20):
                while not connection._is_paused:  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(0)
            assert connection._unread_bytes < 1_000_000
            assert len(await answer.read_all()) == size


async def test_no_header_can_begin_another_one(client: UpstreamClient) -> None:
    for value in ("a\r\nx-more: b", "a\nb", "a\rb", "a\0b"):
        with pytest.raises(ValueError, match="line break"):
            await client.send("GET", URL("http://127.0.0.1:1/"), CIMultiDict({"x-name": value}), None)


async def pieces(*parts: bytes | asyncio.Event | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, asyncio.Event):
            await part.wait()
        elif isinstance(part, Exception):
            raise part
        else:
            yield part


async def test_a_body_of_unknown_length_leaves_in_chunks(client: UpstreamClient) -> None:
    got = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.readuntil(b"\r\n0\r\n\r\n"))
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a?b=%2F", encoded=True)
        with await client.send("POST", url, HEADERS, pieces(b"abc", b"", b"d" * 16)) as answered:
            assert answered.status == 200
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=%2F HTTP/1.1\r\nHost: 127.0.0.1:")
    assert head.endswith(b"\r\nTransfer-Encoding: chunked")
    assert body == b"3\r\nabc\r\n10\r\ndddddddddddddddd\r\n0\r\n\r\n"


async def test_a_body_waits_for_an_upstream_that_does_not_read_and_stops_with_its_answer(
    client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[Connection] = []

    class Noted(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.append(self)

    monkeypatch.setattr(pool, "Connection", Noted)
    sent: list[bytes] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(b"")
            yield bytes(1_000_000)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        [connection] = connections
        while connection._room is None:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1_024) as server, asyncio.timeout(30):
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with await client.send("POST", url, HEADERS, endless()) as answer:
            assert (answer.status, await answer.read_all()) == (413, b"")
    assert len(sent) < 100
    assert idle(client) == 0


async def test_a_large_body_goes_on_whenever_its_upstream_has_read(client: UpstreamClient) -> None:
    size = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal size
        await reader.readuntil(b"\r\n\r\n")
        while size < 20_000_000:
            size += len(await reader.read(65_536))
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, asyncio.timeout(30):
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with await client.send("POST", url, HEADERS, bytes(20_000_000)) as answered:
            assert answered.status == 200
    assert size == 20_000_000


async def test_a_connection_that_ends_during_the_body_is_lost(client: UpstreamClient) -> None:
    never = asyncio.Event()
    async with serving() as upstream:
        with pytest.raises(UpstreamFailed, match=r"the connection ended before its answer") as caught:
            await client.send("POST", upstream.url, HEADERS, pieces(b"abc", never))
    assert caught.value.failure == "lost"


async def test_a_body_stops_when_its_connection_ends_inside_the_answer(client: UpstreamClient) -> None:
    rest = asyncio.Event()
    left = pieces(b"abc", rest, b"def", b"ghi")
    async with serving(b"HTTP/1.1 413 Too Large\r\ncontent-length: 10\r\n\r\n") as upstream, asyncio.timeout(20):
        with await client.send("POST", upstream.url, HEADERS, left) as answer:
            upstream.connections[0].close()
            with pytest.raises(UpstreamFailed, match="the connection ended inside its answer"):
                await answer.read_all()
            rest.set()
            await answer._upload._task  # type: ignore[attr-defined]
            assert await anext(left) == b"ghi"


async def test_the_wait_for_an_answer_begins_anew_with_each_piece(client: UpstreamClient) -> None:
    loop = asyncio.get_running_loop()
    gone, rest = asyncio.Event(), asyncio.Event()

    async def two() -> AsyncIterator[bytes]:
        yield b"ab"
        await rest.wait()
        yield b"cd"
        gone.set()

    async with serving(OK) as upstream:
        connection = (await client.send("GET", upstream.url, HEADERS, None))._connection  # type: ignore[attr-defined]
        waits = Waits.of(Settings().upstream, Timeouts(total_timeout_seconds=600), loop.time(), has_alternative=False)
        upload = Upload(connection, two(), waits, is_chunked=False)
        first = upload.answer_until
        await asyncio.sleep(0.05)
        rest.set()
        await gone.wait()
        assert first < upload.answer_until <= waits.deadline
        upload.stop()
        client._pool.give_back(pool.Origin("http", "", 0), connection)


async def test_a_call_waits_for_a_connection_and_gets_the_next_one(client: UpstreamClient) -> None:
    narrow = UpstreamClient(Settings().upstream.model_copy(update={"connections_max": 1}))
    async with serving(OK, OK) as upstream:
        answer = await narrow.send("GET", upstream.url, HEADERS, None)
        waiting = asyncio.create_task(ask(narrow, upstream.url))
        leaving = asyncio.create_task(ask(narrow, upstream.url))
        await asyncio.sleep(0)
        leaving.cancel()
        answer.close()
        assert await waiting == (200, b"ok")
    assert leaving.cancelled() or await asyncio.wait([leaving])
    assert in_use(narrow) == 0
    await narrow.close()


@pytest.mark.parametrize("are_others", [True, False])
async def test_a_connection_that_was_just_given_to_a_call_that_leaves_is_not_lost(are_others: bool) -> None:
    narrow = UpstreamClient(Settings().upstream.model_copy(update={"connections_max": 1}))
    async with serving(OK, OK) as upstream:
        answer = await narrow.send("GET", upstream.url, HEADERS, None)
        assert await answer.read_all() == b"ok"
        leaving = asyncio.create_task(ask(narrow, upstream.url))
        waiting = [asyncio.create_task(ask(narrow, upstream.url)) for _ in range(are_others)]
        await asyncio.sleep(0)
        answer.close()
        leaving.cancel()
        assert await asyncio.gather(*waiting) == [(200, b"ok")] * are_others
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert in_use(narrow) == 0
        if not are_others:
            assert await ask(narrow, upstream.url) == (200, b"ok")
    assert in_use(narrow) == 0
    await narrow.close()


async def test_a_small_head_may_come_with_a_long_body(client: UpstreamClient) -> None:
    body = b"x" * (HEAD_BYTES_MAX + 1)
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)) as upstream:
        assert await ask(client, upstream.url) == (200, body)


async def test_a_name_is_looked_up_once_for_all_who_ask_meanwhile() -> None:
    names = Names(api_example=[["127.0.0.1"], ["127.0.0.9"]])
    client = UpstreamClient(Settings().upstream, names)
    async with serving(OK, OK) as upstream:
        url = upstream.url.with_host("api.example")
        assert list(await asyncio.gather(ask(client, url), ask(client, url))) == [(200, b"ok")] * 2
    assert names.answers["api.example"] == [["127.0.0.9"]]
    await client.close()
    with pytest.raises(UpstreamFailed, match="no connection: "):  # and again once nobody is there any more
        await ask(client, url)
    assert not client._pool._names


async def test_a_name_without_an_address_is_told_apart() -> None:
    client = UpstreamClient(Settings().upstream, Names(empty_example=[[]]))
    with pytest.raises(UpstreamFailed, match="its name cannot be resolved: it has no address") as caught:
        await ask(client, URL("http://empty.example/"))
    assert caught.value.failure == "not_sent"


async def test_a_lookup_that_fails_when_nobody_waits_any_more_is_nobodys_error() -> None:
    names = Names()
    is_asked, may_fail = asyncio.Event(), asyncio.Event()
    fail = names.resolve

    async def slowly(*args: object) -> object:
        is_asked.set()
        await may_fail.wait()
        return await fail(*args)  # type: ignore[arg-type]

    names.resolve = slowly  # type: ignore[method-assign, assignment]
    client = UpstreamClient(Settings().upstream, names)
    asking = asyncio.create_task(ask(client, URL("http://gone.example/")))
    await is_asked.wait()
    asking.cancel()
    await asyncio.wait([asking])
    [name] = client._pool._names.values()
    may_fail.set()
    await asyncio.wait([name.addresses])
    assert isinstance(name.addresses.exception(), OSError)
    assert in_use(client) == 0


async def test_an_upstream_is_spoken_to_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = tls_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    upstream = Upstream((OK, OK))
    client = UpstreamClient(Settings().upstream)
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=context) as server:
        url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert [await ask(client, url) for _ in range(2)] == [(200, b"ok")] * 2
        assert len(upstream.connections) == 1
        await client.close()
