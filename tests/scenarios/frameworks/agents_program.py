"""What programs do with OpenAI's Agents SDK, whatever server."""

# mypy: disable-error-code="import-not-found, untyped-decorator"

from functools import partial
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    OpenAIResponsesWSModel,
    RunConfig,
    Runner,
    WebSearchTool,
    function_tool,
)
from openai import AsyncOpenAI

from tests.scenarios.frameworks.telling import MODEL, QUESTION, Journey, Recipe, Server, failing, get_weather, tell

_WEATHER = function_tool(get_weather)


def _client(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.base_url, api_key=server.api_key, default_headers=server.headers, max_retries=0)


def _agent(server: Server, kind: Any, **options: Any) -> Any:
    model = kind(model=MODEL, openai_client=_client(server))
    settings = ModelSettings(temperature=0.5, include_usage=True)
    return Agent(name="Aide", instructions="Be brief.", model=model, model_settings=settings, **options)


_QUIETLY: dict[str, Any] = {"run_config": RunConfig(tracing_disabled=True)}


def _told(result: Any) -> Any:
    usage = [each.usage for each in result.raw_responses]
    return [result.final_output, result.to_input_list(), [repr(each) for each in usage], result.last_response_id]


async def plain(server: Server, kind: Any, **options: Any) -> Any:
    return _told(await Runner.run(_agent(server, kind, **options), QUESTION, **_QUIETLY))


async def streamed(server: Server, kind: Any, **options: Any) -> Any:
    result = Runner.run_streamed(_agent(server, kind, **options), QUESTION, **_QUIETLY)
    kinds = [getattr(getattr(event, "data", event), "type", None) async for event in result.stream_events()]
    return [kinds, _told(result)]


async def handed_over(server: Server, kind: Any) -> Any:
    other = _agent(server, kind)
    other.name = "Other"
    return _told(await Runner.run(_agent(server, kind, handoffs=[other]), QUESTION, **_QUIETLY))


async def going_on(server: Server) -> Any:
    agent = _agent(server, OpenAIResponsesModel, tools=[_WEATHER])
    first = await Runner.run(agent, QUESTION, **_QUIETLY)
    return _told(await Runner.run(agent, "And again.", previous_response_id=first.last_response_id, **_QUIETLY))


async def stored_conversation(server: Server) -> Any:
    session = OpenAIConversationsSession(openai_client=_client(server))
    agent = _agent(server, OpenAIResponsesModel, tools=[_WEATHER])
    told = [_told(await Runner.run(agent, ask, session=session, **_QUIETLY)) for ask in (QUESTION, "And again.")]
    items = await session.get_items()
    await session.clear_session()
    return [told, items]


async def over_a_socket(server: Server) -> Any:
    # Without this it would speak TLS.
    client = _client(server).copy(websocket_base_url=server.base_url.replace("http", "ws", 1))
    model = OpenAIResponsesWSModel(model=MODEL, openai_client=client)
    told = _told(await Runner.run(Agent(name="Aide", model=model, tools=[_WEATHER]), QUESTION, **_QUIETLY))
    await model.close()
    return told


_KINDS: dict[str, Any] = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
_EVERYWHERE: dict[str, Any] = {
    "plain": plain,
    "streamed": streamed,
    "tools": partial(plain, tools=[_WEATHER]),
    "streamed tools": partial(streamed, tools=[_WEATHER]),
    "structured": partial(plain, output_type=Recipe),
    "structured with tools": partial(plain, output_type=Recipe, tools=[_WEATHER]),
    "handed over": handed_over,
    **failing(plain),
    **failing(streamed, "streamed"),
}
JOURNEYS: dict[str, Journey] = {
    **{f"{name}, {at}": partial(run, kind=kind) for at, kind in _KINDS.items() for name, run in _EVERYWHERE.items()},
    "web search": partial(plain, kind=OpenAIResponsesModel, tools=[WebSearchTool()]),
    "going on": going_on,
    "stored conversation": stored_conversation,
    "over a socket": over_a_socket,
}

if __name__ == "__main__":
    tell(JOURNEYS)
