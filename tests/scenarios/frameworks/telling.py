"""What the programs of this directory have in common: each runs its journeys at each server and tells what it saw.

PROGRAM BASE_URL API_KEY REFUSAL ... prints, as JSON, what every journey saw at each of these servers. Where a server
itself refuses everything, REFUSAL names the fault that this is to look like; it is "" elsewhere.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
QUESTION = "Say hello."
FAULTS: Mapping[str, str | None] = {
    "wrong key": None,
    "unknown model": "status=404",
    "bad request": "status=400",
    "spent budget": "status=429;error_code=insufficient_quota",
    # Without a pause of its own: a program that does not wait for one calls again before it is over.
    "limit": "status=429;header.retry-after-ms=0",
    "server error": "status=500",
    "error in a stream": "error_after=3",
    "cut": "cut_after=3",
}
"""What goes wrong, by the script that makes the simulator do so: it travels in the header `x-simulator`."""
_PLAIN_FAULTS = tuple(fault for fault in FAULTS if fault != "error in a stream")
_STREAM_FAULTS = ("spent budget", "limit", "error in a stream", "cut")


class Server(NamedTuple):
    """Where a program's requests go, and what it says about itself there."""

    base_url: str
    api_key: str
    refusal: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed

    def failing(self, fault: str) -> "Server":
        """The same server, where this goes wrong."""
        script = FAULTS[fault]
        if self.refusal:
            return self
        if script is None:
            return self._replace(api_key="sk-nobody-has-this-key")
        return self._replace(headers={"x-simulator": script})


Journey = Callable[..., Awaitable[Any] | Any]
"""Takes a server."""


class Recipe(BaseModel):
    """A recipe."""

    title: str = Field(description="What it is called.")
    minutes: int
    steps: list[str]


def get_weather(city: str, days: int) -> str:
    """Say what the weather will be."""
    return f"{days} days of rain."


def failing(journey: Journey, way: str = "") -> dict[str, Journey]:
    """Return *journey* by what goes wrong in it, and the *way* that it goes: of streams, where there is one."""

    def at(fault: str) -> Journey:
        return lambda server, **options: journey(server.failing(fault), **options)

    if not way:
        return {fault: at(fault) for fault in _PLAIN_FAULTS}
    return {f"{fault}, {way}": at(fault) for fault in _STREAM_FAULTS}


def described(error: BaseException | None) -> list[Any]:
    """What a program can know of an error, and of those that it came from."""
    chain: list[Any] = []
    while error is not None and len(chain) < 10:
        known = {name: getattr(error, name, None) for name in ("status_code", "code", "type", "param", "body")}
        told = {name: value for name, value in known.items() if value is not None}
        chain.append({"kind": type(error).__name__, "message": str(error), **told})
        error = error.__cause__ or error.__context__
    return chain


async def _see(journey: Journey, server: Server) -> Any:
    try:
        seen = journey(server)
        return await seen if inspect.isawaitable(seen) else seen
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is what its users meet
        return {"error": described(error)}


async def _see_all(journeys: Mapping[str, Journey], server: Server) -> dict[str, Any]:
    """Return what *journeys* see; where a server refuses everything, those that expect that."""
    return {name: await _see(each, server) for name, each in journeys.items() if name.startswith(server.refusal)}


def tell(journeys: Mapping[str, Journey]) -> None:
    """Run all *journeys* at the servers that the command line names, one after the other, and print what they saw."""

    async def run() -> list[Any]:
        arguments = sys.argv[1:]
        servers = map(Server, arguments[::3], arguments[1::3], arguments[2::3])
        return [await _see_all(journeys, server) for server in servers]

    json.dump(asyncio.run(run()), sys.stdout, default=repr)
