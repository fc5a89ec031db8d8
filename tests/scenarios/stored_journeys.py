"""What programs do with openai-python and what is stored for them: each journey tells what it saw, without the ids."""

import io
import re
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from openai import AsyncOpenAI

Journey = Callable[[AsyncOpenAI], Awaitable[Any]]
_ID = re.compile(r"(?<=[-_])[0-9a-f]{24}\b")
_MOMENT = re.compile(r"1[0-9]{9}\b")
JSONL = b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}\n'


def seen(value: Any) -> str:
    """Return what is seen of an answer: all of it but ids and moments."""
    text = repr(value.to_dict()) if hasattr(value, "to_dict") else repr(value)
    return _MOMENT.sub("", _ID.sub("", text))


async def _add_file(client: AsyncOpenAI, content: bytes = JSONL, purpose: Any = "batch") -> Any:
    return await client.files.create(file=("lines & more.jsonl", content), purpose=purpose)


async def files(client: AsyncOpenAI) -> Any:
    created = await client.files.create(
        file=("ü.jsonl", JSONL), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    got = await client.files.retrieve(created.id)
    content = await client.files.content(created.id)
    listed = [file.filename async for file in client.files.list(purpose="batch", limit=1) if file.id == created.id]
    deleted = await client.files.delete(created.id)
    after = await _error(client.files.retrieve(created.id))
    return [
        seen(created),
        seen(got),
        content.content,
        content.response.headers["content-type"],
        listed,
        seen(deleted),
        after[0],
    ]


async def files_of_the_blocking_kind(client: AsyncOpenAI) -> Any:
    created = await client.files.create(file=io.BytesIO(b"\0\xff" * 50_000), purpose="user_data")
    async with client.files.with_streaming_response.content(created.id) as answer:
        data = b"".join([piece async for piece in answer.iter_bytes()])
    await client.files.delete(created.id)
    return [created.bytes, data == b"\0\xff" * 50_000, answer.headers["content-length"]]


async def uploads(client: AsyncOpenAI) -> Any:
    upload = await client.uploads.create(bytes=10, filename="a.txt", mime_type="text/plain", purpose="assistants")
    parts = [await client.uploads.parts.create(upload.id, data=data) for data in (b"hello", b"world")]
    done = await client.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert done.file
    content = await client.files.content(done.file.id)
    other = await client.uploads.create(bytes=10, filename="a.txt", mime_type="text/plain", purpose="assistants")
    cancelled = await client.uploads.cancel(other.id)
    return [seen(upload), [seen(part) for part in parts], done.status, content.content, seen(cancelled)]


async def vector_stores(client: AsyncOpenAI) -> Any:
    file = await _add_file(client, purpose="assistants")
    store = await client.vector_stores.create(name="Rivers", metadata={"a": "b"})
    added = await client.vector_stores.files.create(store.id, file_id=file.id)
    listed = [each.id == file.id async for each in client.vector_stores.files.list(store.id)]
    text = [
        part.text async for part in await _paged(client.vector_stores.files.content(file.id, vector_store_id=store.id))
    ]
    found = [each async for each in client.vector_stores.search(store.id, query="weirs")]
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=[file.id])
    updated = await client.vector_stores.update(store.id, name="Lakes")
    removed = await client.vector_stores.files.delete(file.id, vector_store_id=store.id)
    deleted = await client.vector_stores.delete(store.id)
    shown = [store, added, batch, updated, removed, deleted]
    return [[seen(each) for each in shown], listed, text, found]


async def conversations(client: AsyncOpenAI) -> Any:
    message: Any = {"role": "user", "content": "Hello.", "type": "message"}
    conversation = await client.conversations.create(items=[message], metadata={"topic": "rivers"})
    added = await client.conversations.items.create(conversation.id, items=[message, message])
    listed = client.conversations.items.list(conversation.id, limit=2, order="asc")
    items = [str(item.to_dict()["id"]) async for item in listed]
    one = await client.conversations.items.retrieve(items[0], conversation_id=conversation.id)
    updated = await client.conversations.update(conversation.id, metadata={"topic": "lakes"})
    await client.conversations.items.delete(items[0], conversation_id=conversation.id)
    deleted = await client.conversations.delete(conversation.id)
    return [seen(conversation), seen(added), len(items), seen(one), seen(updated), seen(deleted)]


async def containers(client: AsyncOpenAI) -> Any:
    container = await client.containers.create(name="box")
    file = await client.containers.files.create(container.id, file=("a.txt", b"text"))
    content = await client.containers.files.content.retrieve(file.id, container_id=container.id)
    listed = [each.path async for each in client.containers.files.list(container.id)]
    await client.containers.files.delete(file.id, container_id=container.id)
    await client.containers.delete(container.id)
    return [seen(container), seen(file), content.content, listed]


async def batches(client: AsyncOpenAI) -> Any:
    file = await _add_file(client)
    batch = await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"model": "any"}
    )
    got = await client.batches.retrieve(batch.id)
    cancelled = await client.batches.cancel(batch.id)
    listed = [each.status async for each in client.batches.list(limit=1) if each.id == batch.id]
    return [seen(batch), seen(got), seen(cancelled), listed]


async def fine_tuning(client: AsyncOpenAI) -> Any:
    file = await _add_file(client, purpose="fine-tune")
    job = await client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    events = [event async for event in client.fine_tuning.jobs.list_events(job.id)]
    got = await client.fine_tuning.jobs.retrieve(job.id)
    listed = [each.id == job.id async for each in client.fine_tuning.jobs.list(metadata={"a": "b"})]
    return [seen(job), events, seen(got), True in listed, (await client.fine_tuning.jobs.cancel(job.id)).status]


async def nothing_there(client: AsyncOpenAI) -> Any:
    return [
        (await _error(client.files.retrieve("file-nobody-has-this")))[:2],
        (await _error(client.vector_stores.retrieve("vs_nobody/has?this")))[:2],
        (await _error(client.batches.create(input_file_id="", endpoint="/v1/embeddings", completion_window="24h")))[:0],
    ]


async def a_bad_request(client: AsyncOpenAI) -> Any:
    return await _error(client.post("/batches", body={"endpoint": 1}, cast_to=object))


async def _error(call: Awaitable[Any]) -> list[Any]:
    try:
        await call
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param, error.message]
    return ["no error"]


async def _paged(pages: Any) -> Any:
    return pages


JOURNEYS: dict[str, Journey] = {
    "files": files,
    "binary files": files_of_the_blocking_kind,
    "uploads": uploads,
    "vector stores": vector_stores,
    "conversations": conversations,
    "containers": containers,
    "batches": batches,
    "fine tuning": fine_tuning,
    "nothing there": nothing_there,
    "a bad request": a_bad_request,
}
