"""/v1/responses and what is below it: answered at once, streamed, or in the background, and kept.

A response in the background is found unfinished as often as its script says, and then finished.
https://platform.openai.com/docs/api-reference/responses
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

import orjson

from app.core.clock import utc_now
from app.simulator.call import Call, Ending
from app.simulator.completion import complete
from app.simulator.delivery import EVENT_STREAM, Delivery
from app.simulator.fields import Document
from app.simulator.refusal import Refusal, invalid_value, unknown_url
from app.simulator.response_output import Output
from app.simulator.response_request import ResponseRequest, read_response_request
from app.simulator.response_stream import ResponseEvents, send_response_stream

PREFIX: Final = "/v1/responses"
_KEPT_MAX: Final = 5_000


@dataclass(slots=True)
class _Kept:
    """A stored response."""

    output: Output
    polls_left: int
    is_cancelled: bool = False

    def look(self) -> Document:
        """Return it as it is now; it gets on by being looked at."""
        if self.is_cancelled:
            return self.output.response("cancelled", [])
        if self.polls_left > 0:
            self.polls_left -= 1
            return self.output.response("in_progress", [])
        return self.output.final()


class Responses:
    """The responses that are kept, the oldest of too many forgotten."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._items: dict[str, Document] = {}

    async def create(self, delivery: Delivery, document: Document, model: str) -> Ending:
        """Answer a request for a response."""
        call, script = delivery.exchange.call, delivery.script
        request = read_response_request(document, self._tokens_of)
        self._require_items(request)
        output = _decide(request, delivery, model)
        call.stream = request.chat.stream
        if script.generates:
            call.prompt_tokens, call.cached_tokens = output.input_tokens, output.completion.cached_tokens
        await delivery.wait_for_turn()
        if request.stores:
            self._keep(output, script.background_polls if request.is_background else 0)
        if request.chat.stream:
            return await send_response_stream(delivery, output, ResponseEvents(output))
        _count_output(call, output)
        if request.is_background:
            return await delivery.send_json(orjson.dumps(output.response("queued", [])))
        tokens = output.completion.visible_tokens
        return await delivery.send_json(orjson.dumps(output.final()), completion_tokens=tokens)

    async def compact(self, delivery: Delivery, document: Document, model: str) -> Ending:
        """Answer a request for a conversation in short."""
        request = read_response_request(document, self._tokens_of)
        output = _decide(request, delivery, model)
        call = delivery.exchange.call
        call.prompt_tokens, call.cached_tokens = output.input_tokens, output.completion.cached_tokens
        await delivery.wait_for_turn()
        _count_output(call, output)
        item = {"id": f"cmp_{output.key}", "type": "compaction", "encrypted_content": "gAAAAA"}
        compacted = {"id": output.id, "object": "response.compaction", "created_at": output.created_at}
        usage = output.usage() if output.with_usage else None
        return await delivery.send_json(orjson.dumps({**compacted, "output": [*request.items, item], "usage": usage}))

    async def count_input(self, delivery: Delivery, document: Document, _: str) -> Ending:
        """Answer how many tokens a request would be."""
        request = read_response_request(document, self._tokens_of)
        await delivery.wait_for_turn()
        counted = {"object": "response.input_tokens", "input_tokens": request.chat.prompt_tokens}
        return await delivery.send_json(orjson.dumps(counted))

    async def answer(self, delivery: Delivery) -> Ending:
        """Answer a request about one that is kept; raises Refusal (404)."""
        call = delivery.exchange.call
        response_id, _, action = call.path.removeprefix(f"{PREFIX}/").partition("/")
        response_id = unquote(response_id)
        await delivery.wait_for_turn()
        kept = self._kept.get(response_id)
        if kept is None:
            raise Refusal(404, f"Response with id '{response_id}' not found.", code=None)
        query = {name: values[-1] for name, values in parse_qs(delivery.exchange.query.decode("latin-1")).items()}
        match call.method, action:
            case "GET", "" if query.get("stream") == "true":
                return await _send_again(delivery, kept, int(query.get("starting_after", -1)))
            case "GET", "":
                return await delivery.send_json(orjson.dumps(kept.look()))
            case "DELETE", "":
                del self._kept[response_id]
                deleted = {"id": response_id, "object": "response", "deleted": True}
                return await delivery.send_json(orjson.dumps(deleted))
            case "POST", "cancel":
                return await delivery.send_json(orjson.dumps(_cancel(kept)))
            case "GET", "input_items":
                return await delivery.send_json(orjson.dumps(_page(kept, query)))
        raise unknown_url(call.method, call.path)

    def _keep(self, output: Output, polls: int) -> None:
        self._kept[output.id] = _Kept(output, polls)
        self._items |= {item["id"]: item for item in output.items()}
        for kept in (self._kept, self._items):
            while len(kept) > _KEPT_MAX:
                del kept[next(iter(kept))]

    def _tokens_of(self, response_id: str) -> int:
        kept = self._kept.get(response_id)
        if kept is None:
            message = f"Previous response with id '{response_id}' not found."
            raise Refusal(400, message, param="previous_response_id", code="previous_response_not_found")
        return kept.output.input_tokens + kept.output.completion.visible_tokens

    def _require_items(self, request: ResponseRequest) -> None:
        for item in request.items:
            if item.get("type") == "item_reference" and item.get("id") not in self._items:
                raise Refusal(404, f"Item with id '{item.get('id')}' not found.", param="input", code=None)


def _decide(request: ResponseRequest, delivery: Delivery, model: str) -> Output:
    script, call = delivery.script, delivery.exchange.call
    return Output(
        request=request,
        completion=complete(request.chat, script, model, call.headers if script.echo_headers else {}),
        model=model,
        key=call.id.removeprefix("req_"),
        created_at=int(utc_now().timestamp()),
        with_usage=not script.no_usage,
    )


def _count_output(call: Call, output: Output) -> None:
    call.completion_tokens = output.completion.hidden_tokens + output.completion.visible_tokens


def _cancel(kept: _Kept) -> Document:
    if not kept.output.request.is_background:
        raise invalid_value("response_id", "Only responses that were made in the background can be cancelled.")
    kept.is_cancelled = kept.is_cancelled or kept.polls_left > 0
    return kept.look()


async def _send_again(delivery: Delivery, kept: _Kept, after: int) -> Ending:
    """Send the events of a response after the one numbered *after*."""
    events = ResponseEvents(kept.output)
    frames = [*events.beginning(), *events.pieces(), *events.ending()]
    await delivery.start(200, EVENT_STREAM)
    for frame in frames[after + 1 :]:
        await delivery.exchange.write(frame)
    await delivery.exchange.finish()
    kept.polls_left = 0
    return Ending.FINISHED


def _spelt_out(item: Document) -> Document:
    """Return an item of the input as it is shown: a message with its type, and its text as a part."""
    content = item.get("content")
    if isinstance(content, str):
        item = {**item, "content": [{"type": "input_text", "text": content}]}
    return {"type": "message", **item} if "role" in item else item


def _page(kept: _Kept, query: dict[str, str]) -> Document:
    items = [
        {"id": f"msg_{kept.output.key}in{index}", "status": "completed", **_spelt_out(item)}
        for index, item in enumerate(kept.output.request.items)
    ]
    if query.get("order") != "asc":
        items.reverse()
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    end = start + int(query.get("limit", 20))
    page = items[start:end]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": end < len(items)}
