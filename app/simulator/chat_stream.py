"""POST /v1/chat/completions, streamed: one server-sent event per token, and what a script breaks in between.

https://platform.openai.com/docs/api-reference/chat/streaming
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import orjson

from app.simulator.call import Ending
from app.simulator.chat import Title
from app.simulator.completion import Completion
from app.simulator.exchange import Dropped, Exchange
from app.simulator.refusal import scripted
from app.simulator.script import Script

_DONE: Final = b"data: [DONE]\n\n"


class ChunkFrames:
    """Writes the events of one stream; `include_usage` also puts a null usage into every chunk, as OpenAI does."""

    def __init__(self, completion: Completion, title: Title, *, include_usage: bool) -> None:
        self._completion = completion
        self._title = title
        self._head = b"data: " + orjson.dumps(title.members("chat.completion.chunk"))[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self.include_usage = include_usage

    def roles(self) -> Iterator[bytes]:
        """Yield the first chunk of each choice."""
        content = "" if self._completion.tool_name is None else None
        for index in range(self._completion.choice_count):
            yield self._chunk(index, {"role": "assistant", "content": content, "refusal": None})

    def contents(self) -> Iterator[bytes]:
        """Yield one chunk per visible token, the choices taking turns; the name of a called function is the first."""
        name, indexes = self._completion.tool_name, range(self._completion.choice_count)
        if name is not None:
            for index in indexes:
                opening = {"index": 0, "id": self._title.tool_call_id(index), "type": "function"}
                yield self._chunk(index, {"tool_calls": [{**opening, "function": {"name": name, "arguments": ""}}]})
        for token in self._completion.tokens:
            arguments = {"tool_calls": [{"index": 0, "function": {"arguments": token}}]}
            for index in indexes:
                yield self._chunk(index, {"content": token} if name is None else arguments)

    def endings(self) -> Iterator[bytes]:
        """Yield the last chunk of each choice, then the one without choices that holds the usage, if asked for."""
        for index in range(self._completion.choice_count):
            yield self._chunk(index, {}, self._completion.finish_reason)
        if self.include_usage:
            yield self._head + b'],"usage":' + orjson.dumps(self._completion.usage()) + b"}\n\n"

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head + orjson.dumps(choice) + self._tail


async def send_stream(exchange: Exchange, completion: Completion, script: Script, frames: ChunkFrames) -> Ending:
    """Send the body of a stream at the script's pace, up to where the script breaks it off; returns how it ended.

    Each chunk has a turn of the event loop of its own, so that it leaves as a packet of its own and other calls go on.
    Raises Dropped for a cut or a hang that was given up, and ClientLeft.
    """
    call, loop = exchange.call, asyncio.get_running_loop()
    for frame in frames.roles():
        await exchange.write(frame)
    call.completion_tokens += completion.hidden_tokens
    started_at, pace = loop.time(), script.tokens_per_second
    if await is_broken_off(exchange, script, 0):
        return Ending.CUT
    for count, frame in enumerate(frames.contents(), start=1):
        await exchange.pause(started_at + count / pace - loop.time() if pace else 0)
        call.completion_tokens += 1
        is_malformed = count == 1 and script.malformed == "json"
        await exchange.write(frame[: len(frame) // 2] + b"\n\n" if is_malformed else frame)
        call.completion_tokens_sent += 1
        if await is_broken_off(exchange, script, count):
            return Ending.CUT
    for frame in frames.endings():
        await exchange.write(frame)
    await exchange.write(_DONE)
    await exchange.finish()
    return Ending.FINISHED


async def is_broken_off(exchange: Exchange, script: Script, count: int) -> bool:
    """Do what the script wants after *count* content chunks; tell whether the body was ended."""
    if script.hang == count:
        await exchange.hang()
    if script.cut_after == count:
        raise Dropped(Ending.CUT)
    if script.error_after == count:
        error = orjson.dumps({"error": scripted(500, None, script.error_code).error})
        await exchange.write(b"data: " + error + b"\n\n")
    elif script.eof_after != count:
        return False
    await exchange.finish()
    return True
