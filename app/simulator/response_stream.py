"""A response as numbered events, and what a script breaks in between.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson

from app.simulator.call import Ending
from app.simulator.chat_stream import is_broken_off
from app.simulator.delivery import EVENT_STREAM, Delivery
from app.simulator.fields import Document
from app.simulator.refusal import scripted
from app.simulator.response_output import Output


class ResponseEvents:
    """Writes the events of one stream in order; each is numbered as it is made."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._number = -1
        self._place: dict[str, Any] = {}

    def beginning(self) -> Iterator[bytes]:
        """Yield all events before the first piece of the answer."""
        output, before = self._output, self._output.items_before()
        status = "queued" if output.request.is_background else "in_progress"
        yield self._response("response.created", output.response(status, []))
        if output.request.is_background:
            yield self._response("response.queued", output.response(status, []))
        yield self._response("response.in_progress", output.response("in_progress", []))
        for index, item in enumerate(before):
            yield self.event("response.output_item.added", output_index=index, item={**item, "status": "in_progress"})
            if item["type"] != "reasoning":
                for step in ("in_progress", "completed"):
                    yield self.event(f"response.{item['type']}.{step}", output_index=index, item_id=item["id"])
            yield self.event("response.output_item.done", output_index=index, item=item)
        item = output.answer("", is_done=False)
        self._place = {"item_id": item["id"], "output_index": len(before)}
        yield self.event("response.output_item.added", output_index=len(before), item=item)
        if item["type"] == "message":
            yield self.event("response.content_part.added", **self._place, content_index=0, part=output.part(""))

    def pieces(self) -> Iterator[bytes]:
        """Yield one event for each token."""
        for token in self._output.completion.tokens:
            if self._output.completion.tool_name is not None:
                yield self.event("response.function_call_arguments.delta", **self._place, delta=token)
            else:
                delta = {"content_index": 0, "delta": token, "logprobs": []}
                yield self.event("response.output_text.delta", **self._place, **delta)

    def ending(self) -> Iterator[bytes]:
        """Yield all events after the last piece."""
        output, text = self._output, "".join(self._output.completion.tokens)
        item = output.answer(text)
        if item["type"] == "message":
            at = {**self._place, "content_index": 0}
            yield self.event("response.output_text.done", **at, text=text, logprobs=[])
            yield self.event("response.content_part.done", **at, part=output.part(text))
        else:
            yield self.event("response.function_call_arguments.done", **self._place, name=item["name"], arguments=text)
        yield self.event("response.output_item.done", output_index=self._place["output_index"], item=item)
        yield self._response(f"response.{output.final_status}", output.final())

    def error(self, error: Document) -> bytes:
        """Return the event for an error in the middle."""
        return self.event("error", **{name: error[name] for name in ("code", "message", "param")})

    def event(self, kind: str, **members: Any) -> bytes:
        """Return one event."""
        self._number += 1
        document = {"type": kind, "sequence_number": self._number, **members}
        return f"event: {kind}\ndata: ".encode() + orjson.dumps(document) + b"\n\n"

    def _response(self, kind: str, response: Document) -> bytes:
        return self.event(kind, response=response)


async def send_response_stream(delivery: Delivery, output: Output, events: ResponseEvents) -> Ending:
    """Send the stream at the script's pace, up to where the script breaks it off; returns how it ended.

    Raises Dropped for a cut or a hang that was given up, and ClientLeft.
    """
    exchange, script, loop = delivery.exchange, delivery.script, asyncio.get_running_loop()
    call = exchange.call
    await delivery.start(200, EVENT_STREAM)
    for frame in events.beginning():
        await exchange.write(frame)
    call.completion_tokens += output.completion.hidden_tokens + (output.completion.tool_name is not None)
    started_at, pace = loop.time(), script.tokens_per_second
    if await _is_broken_off(delivery, events, 0):
        return Ending.CUT
    for count, frame in enumerate(events.pieces(), start=1):
        await exchange.pause(started_at + count / pace - loop.time() if pace else 0)
        call.completion_tokens += 1
        is_malformed = count == 1 and script.malformed == "json"
        await exchange.write(frame[: len(frame) // 2] + b"\n\n" if is_malformed else frame)
        call.completion_tokens_sent += 1
        if await _is_broken_off(delivery, events, count):
            return Ending.CUT
    for frame in events.ending():
        await exchange.write(frame)
    await exchange.finish()
    return Ending.FINISHED


async def _is_broken_off(delivery: Delivery, events: ResponseEvents, count: int) -> bool:
    if delivery.script.error_after == count:
        await delivery.exchange.write(events.error(scripted(500, None, delivery.script.error_code).error))
        await delivery.exchange.finish()
        return True
    return await is_broken_off(delivery.exchange, delivery.script, count)
