"""Refuses requests that are too large, stop arriving or are meant for another host, before anything else sees them.

Pure ASGI, inside CallMiddleware, so that the refusals have an id and a log line. A layer looks at a call and returns
what then runs: it is no coroutine of its own, which would be passed through each time that the call goes on.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from itertools import chain
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.error_handlers import refuse
from app.errors import BodyTooLarge, HeadersTooLarge, InvalidRequest
from app.observability.context import BODY_CAME, QUIET_PATHS
from app.upload_errors import BodyTimeout

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_HOSTS_REMEMBERED_MAX: Final = 256
_CONTENT_LENGTH_DIGITS_MAX: Final = 18
_MANAGED_BYTES_MAX: Final = 262_144
"""Of a body of the management API, which is read and parsed as a whole before it is known who sends it."""
_HEADER_OVERHEAD_BYTES: Final = len(": \r\n")

RawHeaders = Iterable[tuple[bytes, bytes]]


class BodyLimit:
    """Answers 413 to bodies that are too large, declared or counted, 408 to those that stop, 400 to a wrong length.

    At most *size_bytes_max*; for calls whose path *is_upload* tells to be one, *upload_size_bytes_max*; for those of
    the management API, which *is_managed* tells, 256 KiB. A body stops when nothing of it comes for *timeout_seconds*
    while somebody waits for it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        size_bytes_max: int,
        upload_size_bytes_max: int = 0,
        is_upload: Callable[[str], bool] = lambda _: False,
        is_managed: Callable[[str], bool] = lambda _: False,
        timeout_seconds: float = 30.0,
    ) -> None:
        self.app = app
        self._size_bytes_max = size_bytes_max
        self._upload_size_bytes_max = upload_size_bytes_max
        self._is_upload = is_upload
        self._is_managed = is_managed
        self._size_bytes_always_fine = min(size_bytes_max, upload_size_bytes_max, _MANAGED_BYTES_MAX)
        self._timeout_seconds = timeout_seconds

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the call on, or answer 413 or 400; reading the body raises BodyTooLarge and BodyTimeout."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        try:
            declared = _declared_size_bytes(scope["headers"])
        except InvalidRequest as error:
            return refuse(error, scope, receive, send)
        # As much as was declared came, says the server: then nothing of it is waited for.
        came = declared if declared == 0 or scope.get(BODY_CAME) else None
        if came is not None and came <= self._size_bytes_always_fine:
            return self.app(scope, receive, send)
        most = self._most(scope["path"])
        if declared is not None and declared > most:
            return refuse(BodyTooLarge(most), scope, receive, send)
        if came is None:
            receive = _bounded(receive, most, self._timeout_seconds)
        return self.app(scope, receive, send)

    def _most(self, path: str) -> int:
        if self._is_upload(path):
            return self._upload_size_bytes_max
        return min(self._size_bytes_max, _MANAGED_BYTES_MAX) if self._is_managed(path) else self._size_bytes_max


class HeaderLimit:
    """Answers 431 to a header section of too many fields or bytes (RFC 6585, section 5)."""

    def __init__(self, app: ASGIApp, *, size_bytes_max: int, count_max: int) -> None:
        self.app = app
        self._size_bytes_max = size_bytes_max
        self._count_max = count_max

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the call on, or answer 431."""
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        headers = scope["headers"]
        size_bytes = sum(map(len, chain.from_iterable(headers))) + _HEADER_OVERHEAD_BYTES * len(headers)
        if len(headers) > self._count_max:
            message = f"The request has more than the {self._count_max} headers that are allowed."
        elif size_bytes > self._size_bytes_max:
            message = f"The request's headers are larger than the {self._size_bytes_max} bytes that are allowed."
        else:
            return self.app(scope, receive, send)
        return refuse(HeadersTooLarge(message), scope, receive, send)


class TrustedHosts:
    """Answers 400 to a Host header that is missing, sent twice, malformed or not among *hosts*.

    `*.example.org` is every subdomain, `*` every host. Probes name the address they found, so health and metrics are
    served to everyone.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self.app = app
        names = {host.lower() for host in hosts}
        self._every_host = "*" in names
        self._suffixes = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._is_served: Callable[[bytes], bool] = lru_cache(_HOSTS_REMEMBERED_MAX)(self._find_served)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the call on, or answer 400."""
        if scope["type"] == "lifespan" or scope["path"] in QUIET_PATHS or self._is_trusted(scope["headers"]):
            return self.app(scope, receive, send)
        error = InvalidRequest("The Host header is missing, malformed, or not a host that is served here.")
        return refuse(error, scope, receive, send)

    def _is_trusted(self, headers: RawHeaders) -> bool:
        values = [value for name, value in headers if name == b"host"]
        return len(values) == 1 and self._is_served(values[0])

    def _find_served(self, value: bytes) -> bool:
        match = _HOST.fullmatch(value.decode("latin-1"))
        if match is None:
            return False
        host = match[1].lower().rstrip(".")
        return self._every_host or host in self._names or host.endswith(self._suffixes)


def _bounded(receive: Receive, size_bytes_max: int, timeout_seconds: float) -> Receive:
    size_bytes = 0
    is_whole = False

    async def receive_bounded() -> Message:
        nonlocal size_bytes, is_whole
        if is_whole:  # from now on it is the client's departure that is waited for
            return await receive()
        try:
            async with asyncio.timeout(timeout_seconds):
                message = await receive()
        except TimeoutError:
            raise BodyTimeout(timeout_seconds) from None
        is_whole = not message.get("more_body", False)
        size_bytes += len(message.get("body", b""))
        if size_bytes > size_bytes_max:
            raise BodyTooLarge(size_bytes_max)
        return message

    return receive_bounded


def _declared_size_bytes(headers: RawHeaders) -> int | None:
    """Return what Content-Length says, None without one; raises InvalidRequest (RFC 9112, section 6.3)."""
    declared: bytes | None = None
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            if declared is not None and declared != value:
                raise InvalidRequest("The Content-Length headers contradict each other.")
            declared = value
        elif name == b"transfer-encoding":
            chunked = True
    if declared is None:
        return None
    if chunked:
        raise InvalidRequest("A request must not have both Content-Length and Transfer-Encoding.")
    if not declared.isdigit():
        raise InvalidRequest("The Content-Length header is not a whole number of bytes.")
    # Python refuses to read numbers of thousands of digits; nobody sends an exabyte.
    return int(declared) if len(declared) <= _CONTENT_LENGTH_DIGITS_MAX else 2**63
