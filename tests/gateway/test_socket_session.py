"""A socket between two ends that do what real ones do rarely: whatever happens, all is settled and closed, once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from app.core.clock import monotonic_seconds
from app.errors import Unauthenticated, Unavailable, WeirError
from app.gateway.socket import ClientGone, ClientSocket, Left, Meter, MustClose, Relayed
from app.gateway.socket_session_service import SessionRules, SocketSession
from app.ledger.entries import Outcome
from app.observability.context import CallContext
from app.upstreams.failure import UpstreamFailed, Verdict
from app.upstreams.routing import Target, Upstream
from app.upstreams.socket import UpstreamSocket
from app.upstreams.socket_service import OpenSocket

PATIENT = SessionRules(seconds_max=60, idle_seconds=60, silent_seconds=60)


class Client(ClientSocket):
    """A caller that sends what it is given, and then waits."""

    def __init__(self, *messages: str | Left, is_gone: bool = False) -> None:
        self.messages = list(messages)
        self.is_gone = is_gone
        self.received: list[str | bytes] = []
        self.closed: list[tuple[int, str]] = []

    async def receive(self) -> str | bytes | Left:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message: str | bytes) -> None:
        if self.is_gone:
            raise ClientGone
        self.received.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


class Server(UpstreamSocket):
    """An upstream that sends what it is given, and then closes, or waits for a word."""

    subprotocol = None

    def __init__(self, *messages: str, takes: bool = True, waits: bool = True) -> None:
        self.messages = list(messages)
        self.takes = takes
        self.waits = waits
        self.close_count = 0
        self.sent: list[str] = []

    async def receive(self) -> str | bytes | None:
        if self.messages:
            return self.messages.pop(0)
        if self.waits:
            await asyncio.Event().wait()
        return None

    async def send(self, text: str) -> None:
        if not self.takes:
            raise UpstreamFailed("lost", "closing")
        self.sent.append(text)

    async def close(self) -> None:
        self.close_count += 1

    def ended(self) -> str:
        return "close code 1006"


class Books(Meter):
    """A meter that does as it is told."""

    def __init__(self, error: Exception | None = None, *, busy: bool = False) -> None:
        self.error = error
        self.busy = busy
        self.ends: list[Outcome] = []

    async def from_client(self, message: str | bytes) -> Sequence[str]:
        return [str(message)]

    async def from_upstream(self, message: str | bytes) -> Relayed:
        if message == "done":
            self.busy = False
        return Relayed([message])

    async def prepare(self) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        return ["prepared"]

    def error_event(self, error: WeirError, cause: str | bytes = "") -> str:
        return f"error {error.code}"

    def is_idle(self) -> bool:
        return not self.busy

    def end(self, outcome: Outcome) -> None:
        self.ends.append(outcome)


class Health:
    """What the health of an upstream is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def failed(self, verdict: Verdict, now: float) -> None:
        self.said.append(verdict.name)

    def end(self) -> None:
        self.said.append("end")


async def allowed() -> None: ...


async def run(
    client: Client, server: Server, books: Books, require_allowed: Callable[[], Awaitable[object]] = allowed
) -> Health:
    context = CallContext("req_1", monotonic_seconds(), "GET", "/v1/realtime")
    health: Any = Health()
    upstream = Upstream("up", "http://127.0.0.1:9/v1", "", models=("*",))
    session = SocketSession(client, PATIENT, require_allowed, context)
    session.attach(OpenSocket(server, Target(upstream, "m"), health))
    async with asyncio.timeout(15):
        await session.run(books)
    return health  # type: ignore[no-any-return]


async def test_a_bug_ends_the_socket_and_comes_out() -> None:
    client, server, books = Client(), Server("one"), Books(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await run(client, server, books)
    assert client.received == ["one", "error internal_error"]
    assert client.closed == [(1011, "internal_error")]
    assert (books.ends, server.close_count) == (["client_left"], 1)


async def test_an_error_between_the_ends_ends_the_socket() -> None:
    client, server, books = Client(), Server("one"), Books(Unavailable("No database."))
    await run(client, server, books)
    assert client.received == ["one", "error service_unavailable"]
    assert client.closed == [(1011, "service_unavailable")]


async def test_an_upstream_that_takes_no_more_is_broken() -> None:
    client, server, books = Client("hello"), Server(takes=False), Books()
    health = await run(client, server, books)
    assert client.received == ["error upstream_unreachable"]
    assert (client.closed, books.ends) == ([(1011, "upstream_unreachable")], ["upstream_broke"])
    assert health.said == ["broken_off", "end"]


async def test_an_upstream_that_closes_while_nothing_is_under_way_is_not_broken() -> None:
    client, server, books = Client(), Server(waits=False), Books()
    health = await run(client, server, books)
    assert (client.received, client.closed) == ([], [(1001, "The upstream closed the connection.")])
    assert server.sent == []
    assert health.said == ["end"]


async def test_what_pays_for_the_next_answer_is_sent_before_more_is_looked_at() -> None:
    server = Server("one", "two", waits=False)
    await run(Client(), server, Books())
    assert server.sent == ["prepared", "prepared"]


async def test_what_is_under_way_ends_before_a_socket_that_must_close() -> None:
    closing = MustClose(Unavailable("No more."))
    client, server, books = Client(), Server("one", "two", "done"), Books(closing, busy=True)
    await run(client, server, books)
    assert client.received.index("error service_unavailable") > 0
    assert [piece for piece in client.received if piece in ("one", "two", "done")] == ["one", "two", "done"]
    assert client.closed == [(1008, "service_unavailable")]


async def test_an_upstream_that_breaks_before_the_last_word_is_broken() -> None:
    client, server, books = Client(Left(is_stopping=True)), Server("one", waits=False), Books(busy=True)
    await run(client, server, books)
    assert (client.closed, books.ends) == ([(1011, "upstream_unreachable")], ["upstream_broke"])


async def test_a_caller_who_is_gone_is_told_nothing() -> None:
    client, server, books = Client(is_gone=True), Server("one"), Books(MustClose(Unavailable("No more.")))
    await run(client, server, books)
    assert (client.closed, books.ends) == ([(1000, "")], ["client_left"])


async def test_a_caller_is_let_go_on_while_that_cannot_be_asked() -> None:
    answers: list[WeirError] = [Unavailable("No database."), Unauthenticated()]

    async def require_allowed() -> None:
        raise answers.pop(0)

    client = Client()
    await run(client, Server(), Books(), require_allowed)
    assert client.closed == [(1008, "invalid_api_key")]
    assert answers == []
