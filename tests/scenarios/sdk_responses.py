"""What programs do with the Responses API and openai-python, whatever server: each journey tells what it saw.

As `sdk_journeys.py`, whose programs run on the version of the SDK that is named there too.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from openai import AsyncOpenAI

from tests.scenarios.sdk_journeys import MODEL, Recipe

_WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
_HOSTED: Any = [
    {"type": "web_search"},
    {"type": "file_search", "vector_store_ids": []},
    {"type": "code_interpreter", "container": {"type": "auto"}},
]

Journey = Callable[[AsyncOpenAI], Awaitable[Any]]


def _plain(response: Any) -> Any:
    """Return a response without what differs from call to call."""
    document = response.to_dict()
    for name in ("id", "created_at", "completed_at", "previous_response_id"):
        document.pop(name, None)
    document["output"] = [[item.get("type"), item.get("status"), item.get("content")] for item in document["output"]]
    return document


async def plain(client: AsyncOpenAI) -> Any:
    response = await client.responses.create(model=MODEL, input="Say hello.", instructions="Be short.", temperature=0.5)
    return [_plain(response), response.output_text]


async def streamed(client: AsyncOpenAI) -> Any:
    stream = await client.responses.create(model=MODEL, input="Say hello.", stream=True)
    events: list[Any] = [event async for event in stream]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    numbers = [event.sequence_number for event in events]
    return [[event.type for event in events], numbers, text, _plain(events[-1].response)]


async def streamed_by_the_helper(client: AsyncOpenAI) -> Any:
    async with client.responses.stream(model=MODEL, input="Say hello.") as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    return [kinds, response.output_text]


async def structured(client: AsyncOpenAI) -> Any:
    response = await client.responses.parse(model=MODEL, input="A recipe.", text_format=Recipe)
    recipe = response.output_parsed
    assert isinstance(recipe, Recipe)
    return recipe.model_dump()


async def functions(client: AsyncOpenAI) -> Any:
    first = await client.responses.create(model=MODEL, input=[{"role": "user", "content": "Rain?"}], tools=[_WEATHER])
    [call] = first.output
    assert call.type == "function_call"
    answer: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    second = await client.responses.create(model=MODEL, previous_response_id=first.id, input=[answer], tools=[_WEATHER])
    history: Any = [{"role": "user", "content": "Rain?"}, call.to_dict(), answer]
    third = await client.responses.create(model=MODEL, input=history, tools=[_WEATHER], store=False)
    return [call.name, json.loads(call.arguments), second.output_text, third.output_text]


async def streamed_function(client: AsyncOpenAI) -> Any:
    question: Any = [{"role": "user", "content": "Rain?"}]
    stream = await client.responses.create(model=MODEL, input=question, tools=[_WEATHER], stream=True)
    events: list[Any] = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    return [[event.type for event in events], "".join(deltas)]


async def hosted_tools(client: AsyncOpenAI) -> Any:
    response = await client.responses.create(model=MODEL, input="Look it up.", tools=_HOSTED, max_tool_calls=3)
    stream = await client.responses.create(model=MODEL, input="Look it up.", tools=_HOSTED, stream=True)
    return [_plain(response), [event.type async for event in stream]]


async def turns(client: AsyncOpenAI) -> Any:
    first = await client.responses.create(model=MODEL, input="One.")
    second = await client.responses.create(model=MODEL, input="Two.", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    referenced: Any = [{"type": "item_reference", "id": second.output[0].id}, {"role": "user", "content": "Three."}]
    third = await client.responses.create(model=MODEL, input=referenced)
    return [_plain(second), _plain(third)]


async def stored(client: AsyncOpenAI) -> Any:
    made = await client.responses.create(model=MODEL, input=[{"role": "user", "content": str(n)} for n in range(5)])
    retrieved = await client.responses.retrieve(made.id)
    assert retrieved.to_dict() == made.to_dict()
    items = [item.to_dict() async for item in client.responses.input_items.list(made.id, limit=2)]
    page = await client.responses.input_items.list(made.id, limit=2, order="asc")
    await client.responses.delete(made.id)
    return [[item["content"] for item in items], page.has_more, len(page.data), await _error_of(client, made.id)]


async def resumed(client: AsyncOpenAI) -> Any:
    stream = await client.responses.create(model=MODEL, input="Say hello.", stream=True, background=True)
    seen: list[Any] = []
    async for event in stream:
        seen.append(event)
        if len(seen) == 6:
            break
    await stream.close()
    rest = await client.responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number)
    seen += [event async for event in rest]
    return [[event.type for event in seen], [event.sequence_number for event in seen], seen[-1].response.output_text]


async def background(client: AsyncOpenAI) -> Any:
    response = await client.responses.create(model=MODEL, input="Say hello.", background=True)
    statuses = [response.status]
    while response.status in ("queued", "in_progress"):
        response = await client.responses.retrieve(response.id)
        statuses.append(response.status)
    return [statuses[0], statuses[-1], response.output_text]


async def cancelled(client: AsyncOpenAI) -> Any:
    script = {"x-simulator": "background_polls=1000"}
    response = await client.responses.create(model=MODEL, input="Say hello.", background=True, extra_headers=script)
    return [(await client.responses.cancel(response.id)).status, (await client.responses.retrieve(response.id)).status]


async def compacted(client: AsyncOpenAI) -> Any:
    history: Any = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    compaction = await client.responses.compact(model=MODEL, input=history)
    return [compaction.object, [item.type for item in compaction.output], compaction.usage.to_dict()]


async def counted(client: AsyncOpenAI) -> Any:
    return (await client.responses.input_tokens.count(model=MODEL, input="Say hello.")).to_dict()


async def unknown(client: AsyncOpenAI) -> Any:
    """What is said of ids that nobody has."""
    seen = [await _error_of(client, "resp_nobody")]
    for journey in (
        client.responses.create(model=MODEL, input="Hello.", previous_response_id="resp_nobody"),
        client.responses.delete("resp_nobody"),
        client.responses.cancel("resp_nobody"),
    ):
        try:
            await journey
        except openai.APIStatusError as error:
            seen.append([error.status_code, error.param, _words(error)])
    return seen


async def refused(client: AsyncOpenAI) -> Any:
    seen = []
    for script in ("status=429", "status=500"):
        for stream in (False, True):
            create: Any = client.responses.create
            # Models of their own, as one that refuses is left alone for a while.
            try:
                await create(model=f"{MODEL}-{stream};{script}", input="Hello.", stream=stream)
            except openai.APIStatusError as error:
                seen.append([type(error).__name__, error.code, error.message])
    return seen


async def error_inside_a_stream(client: AsyncOpenAI) -> Any:
    stream = await client.responses.create(model=f"{MODEL};error_after=2", input="Hello.", stream=True)
    return [event.type async for event in stream]


def _words(error: openai.APIStatusError) -> str:
    """Return the message; OpenAI's 404s have no code, Weir's have one."""
    body: Any = error.body
    message: str = body["message"]
    return message


async def _error_of(client: AsyncOpenAI, response_id: str) -> Any:
    try:
        await client.responses.retrieve(response_id)
    except openai.NotFoundError as error:
        return [error.param, _words(error).replace(response_id, "ID")]
    return "no error"


RESPONSES: dict[str, Journey] = {
    "plain": plain,
    "streamed": streamed,
    "streamed by the helper": streamed_by_the_helper,
    "structured": structured,
    "functions": functions,
    "streamed function": streamed_function,
    "hosted tools": hosted_tools,
    "turns": turns,
    "stored": stored,
    "resumed": resumed,
    "background": background,
    "cancelled": cancelled,
    "compacted": compacted,
    "counted": counted,
    "unknown": unknown,
    "refused": refused,
    "error inside a stream": error_inside_a_stream,
}
