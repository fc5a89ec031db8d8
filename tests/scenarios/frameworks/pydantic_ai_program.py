"""What programs do with pydantic-ai, whatever server."""

# mypy: disable-error-code="import-not-found"

import json
from functools import partial
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, BinaryContent, Embedder, NativeOutput, ToolOutput, WebSearchTool
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

from tests.scenarios.frameworks.telling import (
    EMBEDDING_MODEL,
    MODEL,
    QUESTION,
    Journey,
    Recipe,
    Server,
    failing,
    get_weather,
    tell,
)


def _provider(server: Server) -> Any:
    client = AsyncOpenAI(
        base_url=server.base_url, api_key=server.api_key, default_headers=server.headers, max_retries=0
    )
    return OpenAIProvider(openai_client=client)


def _agent(server: Server, kind: Any = OpenAIChatModel, **options: Any) -> Any:
    return Agent(kind(MODEL, provider=_provider(server)), instructions="Be brief.", **options)


def _told(result: Any) -> Any:
    return [result.output, json.loads(result.all_messages_json()), result.usage]


async def plain(server: Server, kind: Any = OpenAIChatModel) -> Any:
    return _told(await _agent(server, kind).run(QUESTION, model_settings={"temperature": 0.5, "max_tokens": 50}))


async def picture(server: Server, kind: Any = OpenAIChatModel) -> Any:
    return _told(await _agent(server, kind).run(["What is it?", BinaryContent(b"\x89PNG", media_type="image/png")]))


async def conversation(server: Server, kind: Any = OpenAIChatModel, **settings: Any) -> Any:
    agent = _agent(server, kind)
    first = await agent.run(QUESTION)
    return _told(await agent.run("And again.", message_history=first.all_messages(), model_settings=settings))


async def streamed(server: Server, kind: Any = OpenAIChatModel, **options: Any) -> Any:
    async with _agent(server, kind, **options).run_stream(QUESTION) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return [pieces, json.loads(result.all_messages_json()), result.usage]


async def events(server: Server, kind: Any = OpenAIChatModel) -> Any:
    async with _agent(server, kind, tools=[get_weather]).run_stream_events(QUESTION) as told:
        return [type(event).__name__ async for event in told]


async def tools(server: Server, kind: Any = OpenAIChatModel) -> Any:
    return _told(await _agent(server, kind, tools=[get_weather]).run(QUESTION))


async def structured(server: Server, output: Any, kind: Any = OpenAIChatModel, **options: Any) -> Any:
    return _told(await _agent(server, kind, output_type=output(Recipe), **options).run(QUESTION))


async def structured_and_streamed(server: Server, output: Any, kind: Any = OpenAIChatModel) -> Any:
    async with _agent(server, kind, output_type=output(Recipe)).run_stream(QUESTION) as result:
        return [each async for each in result.stream_output(debounce_by=None)]


async def embeddings(server: Server) -> Any:
    embedder = Embedder(OpenAIEmbeddingModel(EMBEDDING_MODEL, provider=_provider(server)), settings={"dimensions": 8})
    query, documents = await embedder.embed_query("a weir"), await embedder.embed_documents(["a weir", "a heron"])
    return [query.embeddings, documents.embeddings, documents.usage]


async def web_search(server: Server) -> Any:
    return _told(await _agent(server, OpenAIResponsesModel, capabilities=[NativeTool(WebSearchTool())]).run(QUESTION))


_PREVIOUS = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
_RESPONSES: dict[str, Any] = {"kind": OpenAIResponsesModel}
JOURNEYS: dict[str, Journey] = {
    "plain": plain,
    "picture": picture,
    "conversation": conversation,
    "streamed": streamed,
    "events": events,
    "tools": tools,
    "structured by a tool": partial(structured, output=ToolOutput),
    "structured by a tool, with tools": partial(structured, output=ToolOutput, tools=[get_weather]),
    "structured natively": partial(structured, output=NativeOutput),
    "structured and streamed": partial(structured_and_streamed, output=ToolOutput),
    "structured natively and streamed": partial(structured_and_streamed, output=NativeOutput),
    "embeddings": embeddings,
    "responses": partial(plain, **_RESPONSES),
    "responses with a picture": partial(picture, **_RESPONSES),
    "responses streamed": partial(streamed, **_RESPONSES),
    "responses as events": partial(events, **_RESPONSES),
    "responses with tools": partial(tools, **_RESPONSES),
    "responses structured": partial(structured, output=NativeOutput, **_RESPONSES),
    "responses structured by a tool": partial(structured, output=ToolOutput, **_RESPONSES),
    "responses structured and streamed": partial(structured_and_streamed, output=NativeOutput, **_RESPONSES),
    "conversation of responses": partial(conversation, **_PREVIOUS, **_RESPONSES),
    "web search": web_search,
    **failing(plain),
    **failing(streamed, "streamed"),
    **failing(partial(streamed, **_RESPONSES), "responses"),
}

if __name__ == "__main__":
    tell(JOURNEYS)
