"""Clients that use the official SDK, which tries again by itself: each try is a request with an id of its own."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import httpx2 as httpx
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.torture.asks import Ask
from tests.torture.clients import PATIENCE_SECONDS, Journal, choose, take_body, take_head
from tests.torture.evidence import Seen
from tests.torture.processes import Program
from tests.torture.tenants import Key, Tenants

_RETRIES = 2
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Current(NamedTuple):
    """What the client that makes this request is doing, and its tries so far."""

    ask: Ask
    key: Key
    tries: list[Seen]


_current: ContextVar[_Current] = ContextVar("current")


class SdkClient:
    """A program that uses `openai` and lets it try again."""

    def __init__(self, gateways: Sequence[Program], tenants: Tenants, journal: Journal) -> None:
        self._gateways = gateways
        self._tenants = tenants
        self._journal = journal
        self._http = DefaultAsyncHttpxClient(
            event_hooks={"request": [self._begin_try], "response": [_note_answer]},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            verify=_NO_CERTIFICATES,
        )
        self._clients = {
            gateway.name: AsyncOpenAI(
                base_url=f"{gateway.base_url}/v1", api_key="-", http_client=self._http, max_retries=_RETRIES
            )
            for gateway in gateways
        }

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, asks: Iterator[Ask], is_over: Callable[[], bool]) -> None:
        """Make one call after the other until it is over."""
        for ask in asks:
            if is_over():
                return
            current = _Current(ask, self._tenants.find(ask.age).keys[ask.key], [])
            _current.set(current)
            await self._call(current)
            last = current.tries[-1] if current.tries else None
            if last is not None and last.code == "insufficient_quota" and not last.is_scripted_error:
                await self._tenants.note_refusal(last.headers.get("budget", ""))
            await asyncio.sleep(ask.pause_seconds)

    async def _call(self, current: _Current) -> None:
        ask = current.ask
        client = self._clients[choose(self._gateways, ask.gateway).name]
        headers = {"authorization": f"Bearer {current.key.value}", "x-simulator": ask.script}
        document: dict[str, Any] = ask.document()
        try:
            async with asyncio.timeout(ask.leaves_after_seconds or 3 * PATIENCE_SECONDS):
                answer = await client.chat.completions.create(**document, extra_headers=headers)
                seen = current.tries[-1]
                if not ask.streamed:
                    seen.take_usage(answer.usage and answer.usage.model_dump())
                    seen.fate = "answered"
                    return
                async with answer:
                    await _read_stream(answer, ask, seen)
        except TimeoutError:
            _end(current, "left" if ask.leaves_after_seconds is not None else "timed_out")
        except openai.APIStatusError:
            return  # noted when it came
        except openai.APITimeoutError:
            _end(current, "timed_out")
        except openai.APIConnectionError as error:
            _end(current, "unreachable" if isinstance(error.__cause__, httpx.ConnectError) else "broke")
        except openai.APIError as error:  # an error event in a stream
            _end(current, "answered", error.code)
        except (httpx.HTTPError, ValueError):  # cut in the middle; half a JSON document
            _end(current, "broke")

    async def _begin_try(self, request: httpx.Request) -> None:
        current = _current.get()
        for seen in current.tries:
            if seen.fate == "open":  # nothing came back, or the SDK would not try again
                seen.fate = "broke"
        kind = current.ask.kind if not current.tries else "SDK, tried again"
        seen = self._journal.begin(current.ask, current.key, kind)
        current.tries.append(seen)
        request.headers["x-request-id"] = seen.request_id


async def _note_answer(response: httpx.Response) -> None:
    seen = _current.get().tries[-1]
    take_head(seen, response.status_code, response.headers)
    if response.is_error:
        error = take_body(seen, await response.aread())
        seen.headers["budget"] = error.get("budget", {}).get("name", "")


async def _read_stream(stream: Any, ask: Ask, seen: Seen) -> None:
    events = 0
    async for chunk in stream:
        events += 1
        seen.take_usage(chunk.usage and chunk.usage.model_dump())
        if ask.leaves_after_events is not None and events >= ask.leaves_after_events:
            seen.fate = "left"
            return
    seen.fate = "answered"


def _end(current: _Current, fate: str, code: str | None = None) -> None:
    if current.tries and current.tries[-1].fate == "open":
        current.tries[-1].fate, current.tries[-1].code = fate, code or current.tries[-1].code
