"""What programs do with openai-python, whichever version of it and whatever server: each journey tells what it saw.

Also a program of its own, for a version of the SDK that is not the installed one:
sdk_journeys.py BASE_URL API_KEY ... prints what every journey saw at each of these servers, as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
_TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city", "days"],
                "additionalProperties": False,
            },
        },
    }
]

Journey = Callable[[AsyncOpenAI], Awaitable[Any]]


class Recipe(BaseModel):
    """What a structured answer is parsed into."""

    title: str
    minutes: int
    steps: list[str]


async def plain(client: AsyncOpenAI) -> Any:
    completion = await client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0.5, seed=7)
    [choice] = completion.choices
    assert completion.usage
    said = [choice.message.role, choice.message.content, choice.finish_reason]
    return [completion.object, completion.model, said, completion.usage.to_dict()]


async def plain_with_the_blocking_client(client: AsyncOpenAI) -> Any:
    def call() -> Any:
        with OpenAI(base_url=str(client.base_url), api_key=client.api_key, max_retries=0) as blocking:
            completion = blocking.chat.completions.create(model=MODEL, messages=HELLO)
            streamed = blocking.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
            return [completion.choices[0].message.content, "".join(pieces)]

    return await asyncio.to_thread(call)


async def streamed(client: AsyncOpenAI) -> Any:
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    # What naive programs do with every chunk.
    content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return [len(chunks), chunks[0].choices[0].delta.role, content, chunks[-1].choices[0].finish_reason]


async def streamed_with_usage(client: AsyncOpenAI) -> Any:
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert last.usage
    return [len(chunks), [chunk.usage for chunk in chunks], last.choices, last.usage.to_dict()]


async def tools(client: AsyncOpenAI) -> Any:
    first = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=_TOOLS)
    [choice] = first.choices
    asked: Any = choice.message.to_dict()
    [call] = asked["tool_calls"]
    answer: Any = {"role": "tool", "tool_call_id": call["id"], "content": "Rain."}
    second = await client.chat.completions.create(model=MODEL, messages=[*HELLO, asked, answer], tools=_TOOLS)
    return [choice.finish_reason, choice.message.content, call["function"], second.choices[0].message.content]


async def streamed_tools(client: AsyncOpenAI) -> Any:
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=_TOOLS, stream=True)
    names, arguments, reasons = [], "", []
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.index == 0
            assert call.function
            names.append(call.function.name)
            arguments += call.function.arguments or ""
        reasons.append(chunk.choices[0].finish_reason)
    return [[name for name in names if name], json.loads(arguments), reasons[-1]]


async def structured_output(client: AsyncOpenAI) -> Any:
    completion = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Recipe)
    recipe = completion.choices[0].message.parsed
    assert isinstance(recipe, Recipe)
    return recipe.model_dump()


async def structured_output_streamed_by_the_helper(client: AsyncOpenAI) -> Any:
    kinds = set()
    async with client.chat.completions.stream(model=MODEL, messages=HELLO, response_format=Recipe) as stream:
        async for event in stream:
            kinds.add(event.type)
        completion = await stream.get_final_completion()
    recipe = completion.choices[0].message.parsed
    assert isinstance(recipe, Recipe)
    return [sorted(kinds), recipe.model_dump()]


async def two_choices(client: AsyncOpenAI) -> Any:
    completion = await client.chat.completions.create(model=MODEL, messages=HELLO, n=2)
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, n=2, stream=True)
    pieces = {0: "", 1: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            pieces[choice.index] += choice.delta.content or ""
    return [[choice.index for choice in completion.choices], completion.choices[1].message.content, pieces]


async def fields_that_no_sdk_knows(client: AsyncOpenAI) -> Any:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, extra_body={"a_new_field": {"deep": [1, None]}}, extra_query={}
    )
    return raw.http_response.json().keys() == raw.parse().to_dict().keys()


async def models(client: AsyncOpenAI) -> Any:
    listed = [model.to_dict() async for model in client.models.list()]
    one = await client.models.retrieve(MODEL)
    nested = await client.models.retrieve("organization/model:tag")
    return [listed, one.to_dict(), nested.id]


async def raw_response(client: AsyncOpenAI) -> Any:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, extra_headers={"x-simulator": "header.openai-version=2020-10-01"}
    )
    names = ("content-type", "openai-version", "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens")
    return [raw.status_code, {name: raw.headers.get(name) for name in names}, raw.parse().choices[0].message.content]


async def streaming_response(client: AsyncOpenAI) -> Any:
    create = client.chat.completions.with_streaming_response.create
    async with create(model=MODEL, messages=HELLO, stream=True) as response:
        lines = [line async for line in response.iter_lines()]
    return [response.status_code, response.headers["content-type"], len(lines), lines[-2:]]


async def request_ids(client: AsyncOpenAI) -> Any:
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    shown = [raw.parse()._request_id, raw.headers["x-request-id"]]
    try:
        await client.chat.completions.create(model=f"{MODEL};status=400", messages=HELLO)
    except openai.BadRequestError as error:
        shown += [error.request_id, error.response.headers["x-request-id"]]
    return [len(shown), len(set(shown)), {(request_id or "")[:4] for request_id in shown} == {"req_"}]


def _error(status: int, **headers: str) -> Journey:
    async def journey(client: AsyncOpenAI) -> Any:
        script = ";".join(
            (f"status={status}", *(f"header.{name.replace('_', '-')}={value}" for name, value in headers.items()))
        )
        seen = []
        for options in ({}, {"stream": True}):
            create: Any = client.chat.completions.create
            model = (
                f"model-{status}-{'streamed' if options else 'plain'}"  # a model that fails is let alone for a while
            )
            try:
                await create(model=model, messages=HELLO, extra_headers={"x-simulator": script}, **options)
            except openai.APIStatusError as error:
                shown = {name: error.response.headers.get(name.replace("_", "-")) for name in headers}
                seen.append([_described(error), shown])
        return seen

    return journey


def _described(error: openai.APIError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "code": error.code,
        "type": error.type,
        "param": error.param,
        "message": error.message,
        "body": error.body,
    }


async def wrong_key(client: AsyncOpenAI) -> Any:
    try:
        await client.with_options(api_key="sk-nobody-has-this-key").models.list()
    except openai.AuthenticationError as error:
        return [type(error).__name__, error.status_code, error.code, error.type]
    return "no error"


async def embeddings(client: AsyncOpenAI) -> Any:
    decoded = await client.embeddings.create(model="text-embedding-3-small", input=["a weir", "a heron"], dimensions=8)
    numbers = await client.embeddings.create(
        model="text-embedding-3-small", input=[[1, 2], [3]], dimensions=8, encoding_format="float"
    )
    return [decoded.to_dict(), numbers.to_dict()]


async def completions(client: AsyncOpenAI) -> Any:
    plain = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="A weir is", n=2, echo=True)
    stream = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="A weir is", stream=True)
    assert plain.usage
    chunks = [chunk async for chunk in stream]
    texts = [choice.text for choice in plain.choices]
    return [texts, plain.usage.to_dict(), [chunk.choices[0].text for chunk in chunks]]


async def moderations(client: AsyncOpenAI) -> Any:
    answer = await client.moderations.create(input=["I like weirs", "to kill time"])
    return [answer.model, [result.to_dict() for result in answer.results]]


async def images(client: AsyncOpenAI) -> Any:
    made = await client.images.generate(model="gpt-image-1", prompt="A heron", n=2, quality="low")
    picture = ("heron.png", b"\x89PNG", "image/png")
    edited = await client.images.edit(model="gpt-image-1", image=[picture, picture], prompt="At dusk", size="1024x1024")
    stream = await client.images.generate(model="gpt-image-1", prompt="A heron", stream=True, partial_images=1)
    events = [(event.type, event.b64_json) async for event in stream]
    return [[answer.to_dict() | {"created": 0} for answer in (made, edited)], events]


async def realtime(client: AsyncOpenAI) -> Any:
    # Older ones would speak TLS to any server.
    sockets = client.copy(websocket_base_url=str(client.base_url).replace("http", "ws", 1))
    seen: list[Any] = []
    async with sockets.realtime.connect(model=MODEL) as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async for event in connection:
            seen.append([event.type, getattr(event, "delta", None)])
            if event.type == "response.done":
                assert event.response.usage
                return [*seen, event.response.status, event.response.usage.to_dict()]
    return seen


async def missing_parameter(client: AsyncOpenAI) -> Any:
    try:
        await client.post("/chat/completions", body={"model": MODEL}, cast_to=object)
    except openai.BadRequestError as error:
        return _described(error)
    return "no error"


async def no_server(client: AsyncOpenAI) -> Any:
    try:
        await client.with_options(base_url="http://127.0.0.1:1/v1").models.list()
    except openai.APIConnectionError as error:
        return type(error).__name__
    return "no error"


async def timeout(client: AsyncOpenAI) -> Any:
    try:
        await client.chat.completions.create(model=f"{MODEL};latency_ms=900", messages=HELLO, timeout=0.3)
    except openai.APIConnectionError as error:
        return type(error).__name__
    return "no error"


async def error_inside_a_stream(client: AsyncOpenAI) -> Any:
    stream = await client.chat.completions.create(model=f"{MODEL};error_after=2", messages=HELLO, stream=True)
    count = 0
    try:
        async for _ in stream:
            count += 1
    except openai.APIError as error:
        return [count, _described(error)]
    return "no error"


JOURNEYS: dict[str, Journey] = {
    "plain": plain,
    "plain with the blocking client": plain_with_the_blocking_client,
    "streamed": streamed,
    "streamed with usage": streamed_with_usage,
    "tools": tools,
    "streamed tools": streamed_tools,
    "structured output": structured_output,
    "structured output streamed by the helper": structured_output_streamed_by_the_helper,
    "two choices": two_choices,
    "fields that no SDK knows": fields_that_no_sdk_knows,
    "embeddings": embeddings,
    "completions": completions,
    "moderations": moderations,
    "images": images,
    "models": models,
    "realtime": realtime,
    "raw response": raw_response,
    "streaming response": streaming_response,
    "request ids": request_ids,
    "BadRequestError": _error(400),
    "PermissionDeniedError": _error(403),
    "NotFoundError": _error(404),
    "ConflictError": _error(409),
    "UnprocessableEntityError": _error(422),
    "RateLimitError": _error(429, retry_after="7", retry_after_ms="7000", x_ratelimit_remaining_tokens="0"),
    "InternalServerError": _error(500, x_should_retry="false"),
    "overloaded": _error(529),
    "AuthenticationError": wrong_key,
    "missing parameter": missing_parameter,
    "APIConnectionError": no_server,
    "APITimeoutError": timeout,
    "error inside a stream": error_inside_a_stream,
}


async def _see_all(base_url: str, api_key: str) -> dict[str, Any]:
    async with AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        return {name: await journey(client) for name, journey in JOURNEYS.items()}


async def _tell_all(*servers: str) -> None:
    seen = await asyncio.gather(*map(_see_all, servers[::2], servers[1::2]))
    sys.stdout.write(json.dumps({"version": openai.__version__, "seen": seen}))


if __name__ == "__main__":
    asyncio.run(_tell_all(*sys.argv[1:]))
