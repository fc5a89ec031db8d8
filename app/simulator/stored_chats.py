"""Chat completions that were made with `store`: got, listed, changed and deleted.

https://platform.openai.com/docs/api-reference/chat/list
"""

from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from app.simulator.call import Ending
from app.simulator.delivery import Delivery
from app.simulator.fields import Document, read_document
from app.simulator.refusal import Refusal, unknown_url

PREFIX: Final = "/v1/chat/completions"
_KEPT_MAX: Final = 5_000


class StoredChats:
    """The completions that are kept with their messages, oldest first; the oldest of too many are forgotten."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Document, list[Document]]] = {}

    def keep(self, body: bytes, request: Document) -> None:
        """Keep the completion in *body*, the answer to *request*, if that wants it."""
        if request.get("store") is True:
            completion = {**orjson.loads(body), "metadata": request.get("metadata") or {}}
            self._kept[completion["id"]] = completion, request["messages"]
            if len(self._kept) > _KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    async def answer(self, delivery: Delivery, body: bytes) -> Ending:
        """Answer a request about them; raises Refusal (404)."""
        call = delivery.exchange.call
        completion_id, _, below = call.path.removeprefix(PREFIX).removeprefix("/").partition("/")
        completion_id = unquote(completion_id)
        query = {name: values[-1] for name, values in parse_qs(delivery.exchange.query.decode("latin-1")).items()}
        await delivery.wait_for_turn()
        if not completion_id and call.method == "GET":
            return await delivery.send_json(orjson.dumps(self._page(query)))
        if completion_id not in self._kept:
            raise Refusal(404, f"Completion with id '{completion_id}' not found.", code=None)
        completion, messages = self._kept[completion_id]
        match call.method, below:
            case "GET", "":
                return await delivery.send_json(orjson.dumps(completion))
            case "POST", "":
                completion["metadata"] = read_document(body).get("metadata") or {}
                return await delivery.send_json(orjson.dumps(completion))
            case "DELETE", "":
                del self._kept[completion_id]
                deleted = {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}
                return await delivery.send_json(orjson.dumps(deleted))
            case "GET", "messages":
                named = [{"id": f"{completion_id}-{at}", **message} for at, message in enumerate(messages)]
                return await delivery.send_json(orjson.dumps(_list(named, query)))
        raise unknown_url(call.method, call.path)

    def _page(self, query: dict[str, str]) -> Document:
        kept = [completion for completion, _ in self._kept.values()]
        if "model" in query:
            kept = [completion for completion in kept if completion["model"] == query["model"]]
        if query.get("order") == "desc":
            kept.reverse()
        return _list(kept, query)


def _list(kept: list[Document], query: dict[str, str]) -> Document:
    ids: list[Any] = [each["id"] for each in kept]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    end = start + int(query.get("limit", 20))
    page = ids[start:end]
    ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
    return {"object": "list", "data": kept[start:end], **ends, "has_more": end < len(ids)}
