"""A simulator that remembers every request as it arrived, and what two runs of one program must have in common.

What differs from run to run (ids, moments, boundaries, ports) is written as a name for it; what Weir does on purpose is
undone here, and nowhere else, so that all other differences are seen.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from app.simulator.app import Simulator
from app.simulator.exchange import Message, Receive, Scope, Send

# Of the connection, of the credential, or Weir's own; the last two are the JavaScript runtime's.
_HEADERS_APART: Final = frozenset(
    {"authorization", "connection", "content-length", "host", "transfer-encoding", "x-request-id"}
    | {"accept-encoding", "accept-language", "sec-fetch-mode"}
)
_WEIR: Final = "weir/"
# A ledger needs the usage of every stream (`docs/life-of-a-call.md`).
_USAGE_ASKED_FOR: Final = b'{"stream_options":{"include_usage":true},'
_IDS: Final = re.compile(r"\b[a-z]+[-_][0-9a-f]{24}\w*|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_MOMENTS: Final = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*|(?<![\d.])1\d{9}(?:\.\d+)?\b")
_ADDRESSES: Final = re.compile(r"127\.0\.0\.1:\d+")
_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)')


class Request(NamedTuple):
    """One request, without what passes."""

    method: str
    path: str
    """As it was spelt, with its query."""
    headers: list[tuple[str, str]]
    body: str


class Recorder(Simulator):
    """A simulator that keeps whole requests."""

    def __init__(self, *, api_key: str) -> None:
        super().__init__(api_key=api_key)
        self._arrived: list[tuple[Scope, bytearray, list[int]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and keep it."""
        body, statuses = bytearray(), list[int]()
        if scope["type"] == "http":
            self._arrived.append((scope, body, statuses))

        async def receive_and_keep() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def send_and_look(message: Message) -> None:
            statuses.append(message.get("status", 0))
            await send(message)

        is_http = scope["type"] == "http"
        await super().__call__(scope, receive_and_keep if is_http else receive, send_and_look if is_http else send)

    def forget(self) -> None:
        """Forget all requests so far."""
        self._arrived.clear()

    def requests(self) -> list[Request]:
        """Return the requests in the order of their arrival; not those that Weir makes, or refuses, by itself."""
        found = [
            _request(scope, bytes(body))
            for scope, body, statuses in self._arrived
            if not _is_refused_by_weir(scope, statuses[0] if statuses else 0)
        ]
        agents = [dict(request.headers).get("user-agent", _WEIR) for request in found]
        return [request for request, agent in zip(found, agents, strict=True) if not agent.startswith(_WEIR)]


def lasting(value: Any) -> Any:
    """Return *value*, which is JSON, without what passes; ids are numbered by their first occurrence."""
    return orjson.loads(_lasting(orjson.dumps(value).decode()))


def first_difference(expected: Iterable[Any], seen: Iterable[Any]) -> Any:
    """Return the first two that differ, None when all are equal; for a message that can be read."""
    return next(((one, other) for one, other in zip(expected, seen, strict=False) if one != other), None)


def _is_refused_by_weir(scope: Scope, status: int) -> bool:
    """Tell whether Weir answers the same by itself: that the key is wrong, or that there is no such object."""
    is_about_an_object = scope["path"].count("/") > 2 and scope["method"] in ("GET", "DELETE")
    return status == 401 or (status == 404 and is_about_an_object)


def _request(scope: Scope, body: bytes) -> Request:
    headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
    if body.startswith(_USAGE_ASKED_FOR):
        body = b"{" + body.removeprefix(_USAGE_ASKED_FOR)
    path, text = scope["raw_path"].decode(), body.decode("latin-1")
    query = scope["query_string"].decode()
    if scope["method"] == "GET" and path == "/v1/chat/completions":
        # The caller's own are picked out of a longer page (`docs/isolation.md`).
        query = re.sub(r"\blimit=\d+", "limit=any", query)
    boundary = _BOUNDARY.search(dict(headers).get("content-type", ""))
    kept = sorted((name, value) for name, value in headers if name not in _HEADERS_APART)
    if boundary is not None:
        text = text.replace(boundary[1], "a-boundary")
        kept = [(name, value.replace(boundary[1], "a-boundary")) for name, value in kept]
    return Request(scope["method"], _lasting(f"{path}?{query}"), kept, _lasting(text))


def _lasting(text: str) -> str:
    numbers: dict[str, int] = {}
    text = _IDS.sub(lambda found: f"id-{numbers.setdefault(found[0], len(numbers))}", text)
    return _ADDRESSES.sub("a-server", _MOMENTS.sub("0", text))
