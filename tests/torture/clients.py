"""The clients: each makes its calls one after the other, at whichever gateway, and writes down what it saw."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import aiohttp

from tests.torture.asks import Ask
from tests.torture.evidence import Seen
from tests.torture.processes import Program
from tests.torture.tenants import Key, Tenants

PATIENCE_SECONDS = 25.0
_DOWN_PAUSE_SECONDS = 0.3
_KEPT_HEADERS = ("x-request-id", "x-should-retry", "retry-after", "retry-after-ms", "x-weir-cost-usd")


class Journal:
    """What all clients saw, by request id, which they choose."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self._numbers: Iterator[int] = count(1)
        self._run = secrets.token_hex(4)

    def begin(self, ask: Ask, key: Key, kind: str) -> Seen:
        """Return the record of a request that is about to be sent."""
        request_id = f"torture-{self._run}-{next(self._numbers):07d}"
        is_scripted_error = "status=" in ask.script or "malformed=html" in ask.script
        seen = Seen(request_id, kind, key.id, lies=ask.lies, is_scripted_error=is_scripted_error)
        self.seen[request_id] = seen
        return seen


class LightClient:
    """A client that speaks plain HTTP and never tries again."""

    def __init__(self, gateways: Sequence[Program], tenants: Tenants, journal: Journal) -> None:
        self._gateways = gateways
        self._tenants = tenants
        self._journal = journal

    async def run(self, session: aiohttp.ClientSession, asks: Iterator[Ask], is_over: Callable[[], bool]) -> None:
        """Make one call after the other until it is over."""
        for ask in asks:
            if is_over():
                return
            key = self._tenants.find(ask.age).keys[ask.key]
            seen = self._journal.begin(ask, key, ask.kind)
            idempotency_key = seen.idempotency_key = seen.request_id if ask.repeats else None
            await self._try(session, ask, key, seen)
            for _ in range(ask.repeats):
                seen = self._journal.begin(ask, key, "asked again")
                seen.idempotency_key = idempotency_key
                await self._try(session, ask.again(), key, seen)

    async def _try(self, session: aiohttp.ClientSession, ask: Ask, key: Key, seen: Seen) -> None:
        gateway = choose(self._gateways, ask.gateway)
        error = await self._call(session, gateway.base_url, ask, key, seen)
        if seen.code == "insufficient_quota" and not seen.is_scripted_error:
            await self._tenants.note_refusal(error.get("budget", {}).get("name", ""))
        is_down = seen.fate in ("unreachable", "broke") or seen.code == "service_unavailable"
        await asyncio.sleep(ask.pause_seconds + (_DOWN_PAUSE_SECONDS if is_down else 0))

    async def _call(
        self, session: aiohttp.ClientSession, base_url: str, ask: Ask, key: Key, seen: Seen
    ) -> dict[str, Any]:
        """Make one call; return the error that it was answered with, if any."""
        headers = {
            "authorization": f"Bearer {key.value}",
            "content-type": "application/json",
            "x-request-id": seen.request_id,
            "x-simulator": ask.script,
        }
        if seen.idempotency_key is not None:
            headers["idempotency-key"] = seen.idempotency_key
        try:
            async with asyncio.timeout(
                PATIENCE_SECONDS if ask.leaves_after_seconds is None else ask.leaves_after_seconds
            ):
                async with session.post(f"{base_url}/v1/chat/completions", data=ask.body(), headers=headers) as answer:
                    take_head(seen, answer.status, answer.headers)
                    if answer.content_type == "text/event-stream":
                        await _read_stream(answer, ask, seen)
                        return {}
                    return take_body(seen, await answer.read())
        except TimeoutError:
            seen.fate = "timed_out" if ask.leaves_after_seconds is None else "left"
        except aiohttp.ClientConnectorError:
            seen.fate = "unreachable"
        except (aiohttp.ClientError, OSError):
            seen.fate = "broke"
        return {}


def choose(gateways: Sequence[Program], number: int) -> Program:
    """Return one of the gateways that are up, as a load balancer would; any one when none is."""
    up = [gateway for gateway in gateways if gateway.is_up] or list(gateways)
    return up[number % len(up)]


def take_head(seen: Seen, status: int, headers: Any) -> None:
    """Remember the status and the headers that promises are made about."""
    seen.status = status
    seen.headers = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
    seen.is_replayed = "idempotent-replayed" in headers


def take_body(seen: Seen, body: bytes) -> dict[str, Any]:
    """Remember what a plain answer says; return its error, if it is one."""
    seen.fate = "answered"
    seen.digest = hashlib.sha256(body).hexdigest()
    try:
        document = json.loads(body)
    except ValueError:
        seen.code = "not JSON"
        return {}
    seen.take_usage(document.get("usage"))
    error: dict[str, Any] = document.get("error") or {}
    seen.code = error.get("code")
    return error


async def _read_stream(answer: aiohttp.ClientResponse, ask: Ask, seen: Seen) -> None:
    """Read a stream to its end, or as far as the client stays."""
    events = 0
    last = b""
    digest = hashlib.sha256()
    async for line in answer.content:
        digest.update(line)
        if not line.startswith(b"data: "):
            continue
        events += 1
        last = line[6:].strip()
        if b'"usage":{' in last:
            seen.take_usage(json.loads(last)["usage"])
        if ask.leaves_after_events is not None and events >= ask.leaves_after_events and last != b"[DONE]":
            seen.fate = "left"
            answer.close()
            return
    seen.fate = "answered"
    if last == b"[DONE]":
        seen.digest = digest.hexdigest()
    elif last.startswith(b'{"error"'):
        seen.code = json.loads(last)["error"]["code"] or "error event"
    else:
        seen.is_cut_silently = True
