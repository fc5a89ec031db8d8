"""Sends an answer the way its script wants it: late, never, refused, cut or mislabelled, with OpenAI's headers.

https://platform.openai.com/docs/api-reference/debugging-requests
"""

from typing import Final

from app.core.clock import monotonic_seconds
from app.simulator.call import Ending
from app.simulator.exchange import Dropped, Exchange, Headers
from app.simulator.refusal import Refusal, scripted, web_page
from app.simulator.script import DEFAULT, HANG_BEFORE

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
SOCKET_HEADERS: Final[Headers] = [(b"openai-version", b"2020-10-01"), (b"openai-organization", b"org-simulator")]
"""Of the answer that opens a WebSocket."""
_HEADERS: Final[Headers] = [
    (b"openai-version", b"2020-10-01"),
    (b"openai-organization", b"org-simulator"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-remaining-tokens", b"1999000"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"30ms"),
]


class Delivery:
    """One answer on its way: `script` is the default one until the request's was read."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.script = DEFAULT
        self.extra_headers: Headers = []
        self._started_at = monotonic_seconds()

    async def wait_for_turn(self) -> None:
        """Do what the script wants before the first byte.

        Raises Refusal for the error or the web page that takes the answer's place, ClientLeft, and Dropped.
        """
        script = self.script
        if script.latency_ms:
            await self.exchange.pause(script.latency_ms / 1000)
        if script.hang == HANG_BEFORE:
            await self.exchange.hang()
        if script.malformed == "html":
            raise web_page(script.status or 200)
        if script.status is not None:
            raise scripted(script.status, self.exchange.call.model, script.error_code)

    async def send_json(self, body: bytes, *, completion_tokens: int = 0) -> Ending:
        """Send *body*, which shows *completion_tokens*, or what the script allows of it; returns how it ended."""
        return await self.send_body(body, JSON, completion_tokens=completion_tokens)

    async def send_body(self, body: bytes, content_type: str, *, completion_tokens: int = 0) -> Ending:
        """Send the same as *content_type*."""
        exchange, script = self.exchange, self.script
        if script.malformed == "json":
            body, completion_tokens = body[: len(body) // 2], 0
        await self.start(200, content_type, len(body))
        if script.cut_after is not None or isinstance(script.hang, int):
            await exchange.write(body[: len(body) // 2])
            if script.cut_after is not None:
                raise Dropped(Ending.CUT)
            await exchange.hang()
        await exchange.write(body)
        exchange.call.completion_tokens_sent += completion_tokens
        await exchange.finish()
        return Ending.FINISHED

    async def send_refusal(self, refusal: Refusal) -> Ending:
        """Send the error; returns `refused`, or `finished` for an error or a web page that claims success."""
        await self.start(refusal.status, refusal.content_type, len(refusal.body))
        await self.exchange.write(refusal.body)
        await self.exchange.finish()
        return Ending.FINISHED if refusal.status == 200 else Ending.REFUSED

    async def start(self, status: int, content_type: str, length_bytes: int | None = None) -> None:
        """Send status and headers; the script's headers replace those of the same name."""
        processing_ms = round((monotonic_seconds() - self._started_at) * 1000)
        headers = [
            (b"content-type", (self.script.content_type or content_type).encode("latin-1")),
            (b"x-request-id", self.exchange.call.id.encode()),
            (b"openai-processing-ms", b"%d" % processing_ms),
            (b"cache-control", b"no-cache") if length_bytes is None else (b"content-length", b"%d" % length_bytes),
            *_HEADERS,
            *self.extra_headers,
        ]
        if self.script.headers:
            scripted_headers = {name.encode(): value.encode("latin-1") for name, value in self.script.headers.items()}
            headers = list((dict(headers) | scripted_headers).items())
        await self.exchange.start(status, headers)
