"""What OpenAI stores for its callers, here in memory and for as long as there is room: files, vector stores, and so on.

One set of rules for every kind: create, list in pages, get, change, delete, and a few actions.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from app.core.clock import utc_now
from app.simulator.call import Ending
from app.simulator.delivery import Delivery
from app.simulator.fields import Document, read_document
from app.simulator.form import Form
from app.simulator.refusal import Refusal, missing_parameter, unknown_url
from app.simulator.stored_content import Contents, send_content
from app.simulator.stored_shapes import KINDS, PARENTS, Kind

Path = tuple[str, ...]
_PREFIX: Final = "/v1/"
_OBJECTS_MAX: Final = 10_000
_LIMIT_DEFAULT: Final = 20
_LIMIT_MAX: Final = 10_000


class StoredObjects:
    """Every object by its collection, such as `vector_stores/vs_1/files`, and its id; the oldest go first."""

    def __init__(self) -> None:
        self._collections: dict[Path, dict[str, Document]] = {}
        self._contents = Contents()
        self._count = 0

    async def answer(self, delivery: Delivery, body: bytes) -> Ending:
        """Answer one request; raises Refusal (404) for what is not there."""
        call, exchange = delivery.exchange.call, delivery.exchange
        path = tuple(unquote(part) for part in call.path.removeprefix(_PREFIX).split("/"))
        await delivery.wait_for_turn()
        if path[-1] == "content" and call.method == "GET" and path[0] != "vector_stores" and len(path) > 2:
            file = self._get(path[:-2], path[-2])
            return await send_content(delivery, self._contents.find(file["id"]), file)
        document = self._answer(call.method, path, body, exchange.form, exchange.query)
        if document is None:
            raise unknown_url(call.method, call.path)
        return await delivery.send_json(orjson.dumps(document))

    def _answer(self, method: str, path: Path, body: bytes, form: Form | None, query: bytes) -> Document | None:
        kind = KINDS.get(_pattern(path))
        if kind is not None and method == "POST":
            return self._create(kind, path, _request(body, form), form)
        if kind is not None and method == "GET":
            return self._page(path, query)
        action = _ACTIONS.get((method, path[0], path[-1]))
        if action is not None:
            return action(self, path, body)
        if KINDS.get(_pattern(path[:-1])) is None:
            return None
        stored = self._get(path[:-1], path[-1])
        if method == "POST":
            stored.update(read_document(body) if body else {})
        elif method == "DELETE":
            return self._delete(path)
        return stored if method in ("GET", "POST") else None

    def _create(self, kind: Kind, path: Path, request: Document, form: Form | None) -> Document:
        if len(path) > 1 and _pattern(path) != path:
            self._get(path[:-2], path[-2])
        if path[-1] == "items":
            return self._create_items(kind, path, request)
        if path == ("conversations",):
            conversation = self._add(kind, path, request)
            self._create_items(KINDS["conversations", "*", "items"], (*path, conversation["id"], "items"), request)
            return conversation
        created = self._add(kind, path, request)
        if form is not None and kind.name in ("file", "container.file", "upload.part"):
            file = form.read_file("data" if kind.name == "upload.part" else "file")
            self._contents.add(created["id"], bytes(file.kept), file.size_bytes)
        return created

    def _create_items(self, kind: Kind, path: Path, request: Document) -> Document:
        items = [self._add(kind, path, item) for item in request.get("items") or ()]
        return _list(items, has_more=False)

    def _add(self, kind: Kind, path: Path, request: Document) -> Document:
        now = int(utc_now().timestamp())
        created: Document = {"id": f"{kind.id_prefix}{secrets.token_hex(12)}"}
        if kind.name:
            created |= {"object": kind.name, "created_at": now}
        if path[0] in PARENTS and len(path) > 2:
            created[PARENTS[path[0]]] = path[1]
        created |= kind.shape(request, now)
        self._collections.setdefault(path, {})[created["id"]] = created
        self._count += 1
        if self._count > _OBJECTS_MAX:
            oldest = next(iter(self._collections))
            self._count -= len(self._collections.pop(oldest))
        return created

    def _get(self, collection: Path, object_id: str) -> Document:
        stored = self._collections.get(collection, {}).get(object_id)
        if stored is None:
            raise Refusal(404, f"No such object: {object_id}", param="id", code=None)
        return stored

    def _delete(self, path: Path) -> Document:
        kind = KINDS[_pattern(path[:-1])]
        stored = self._collections[path[:-1]].pop(path[-1])
        self._count -= 1
        self._contents.remove(stored["id"])
        if path[-2] == "items":
            return self._get(path[:-3], path[-3])
        return {"id": stored["id"], "object": kind.deleted, "deleted": True}

    def _page(self, path: Path, query: bytes) -> Document:
        parameters = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
        stored = list(self._collections.get(path, {}).values())
        if parameters.get("order") != "asc":
            stored.reverse()
        if (purpose := parameters.get("purpose")) is not None:
            stored = [each for each in stored if each["purpose"] == purpose]
        if (after := parameters.get("after")) is not None:
            ids = [each["id"] for each in stored]
            stored = stored[ids.index(after) + 1 :] if after in ids else []
        limit = min(int(parameters.get("limit", _LIMIT_DEFAULT)), _LIMIT_MAX)
        return _list(stored[:limit], has_more=len(stored) > limit)

    def complete_upload(self, path: Path, body: bytes) -> Document:
        """Make a file of the parts of an upload."""
        upload = self._get(path[:-2], path[-2])
        part_ids = read_document(body).get("part_ids") or []
        parts = [self._contents.find(self._get((*path[:-1], "parts"), part_id)["id"]) for part_id in part_ids]
        kept, size_bytes = b"".join(part.kept for part in parts), sum(part.size_bytes for part in parts)
        file = self._add(KINDS[("files",)], ("files",), {**upload, "bytes": size_bytes})
        self._contents.add(file["id"], kept, size_bytes)
        upload.update(status="completed", file=file)
        return upload

    def cancel(self, path: Path, _: bytes) -> Document:
        """Cancel what is under way."""
        stored = self._get(path[:-2], path[-2])
        stored["status"] = "cancelling" if path[0] == "batches" else "cancelled"
        return stored

    def search(self, path: Path, body: bytes) -> Document:
        """Find nothing in a vector store."""
        self._get(path[:-2], path[-2])
        queries = read_document(body).get("query")
        found: Document = {"object": "vector_store.search_results.page", "data": [], "has_more": False}
        return {**found, "search_query": queries if isinstance(queries, list) else [queries], "next_page": None}

    def content_page(self, path: Path, _: bytes) -> Document:
        """Return the text of a file as a vector store has it."""
        file = self._get(path[:-2], path[-2])
        text = self._contents.find(file["id"]).kept.decode("utf-8", "replace")
        data = [{"type": "text", "text": text}]
        return {"object": "vector_store.file_content.page", "data": data, "has_more": False, "next_page": None}

    def empty_list(self, path: Path, _: bytes) -> Document:
        """Return what a job has not made yet."""
        self._get(path[:-2], path[-2])
        return _list([], has_more=False)


_Action = Callable[[StoredObjects, Path, bytes], Document]
_ACTIONS: Final[dict[tuple[str, str, str], _Action]] = {
    ("POST", "uploads", "complete"): StoredObjects.complete_upload,
    ("POST", "uploads", "cancel"): StoredObjects.cancel,
    ("POST", "batches", "cancel"): StoredObjects.cancel,
    ("POST", "fine_tuning", "cancel"): StoredObjects.cancel,
    ("GET", "fine_tuning", "events"): StoredObjects.empty_list,
    ("GET", "fine_tuning", "checkpoints"): StoredObjects.empty_list,
    ("GET", "vector_stores", "content"): StoredObjects.content_page,
    ("POST", "vector_stores", "search"): StoredObjects.search,
}
"""By method, and by the first and the last part of the path."""


def _pattern(path: Path) -> Path:
    """Return *path* with a star for the id of a parent."""
    return path if len(path) < 3 else (path[0], "*", *path[2:])


def _request(body: bytes, form: Form | None) -> Document:
    """Return what a creation asks for; a file by its name and size."""
    if form is None:
        return read_document(body) if body else {}
    request: dict[str, Any] = dict(form.fields())
    files = [part for part in form.parts if part.filename is not None]
    if not files:
        raise missing_parameter("file")
    return {**request, "filename": files[0].filename, "bytes": files[0].size_bytes}


def _list(data: list[Document], *, has_more: bool) -> Document:
    ids = [each["id"] for each in data]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": data, **ends, "has_more": has_more}
