"""What programs do with LangChain, whatever server."""

# mypy: disable-error-code="import-not-found, untyped-decorator"

from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

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

_WEATHER = tool(get_weather)


def _chat(server: Server, **options: Any) -> Any:
    address = {"base_url": server.base_url, "api_key": server.api_key, "default_headers": server.headers}
    return ChatOpenAI(model=MODEL, **address, max_retries=0, **options)


def _message(message: Any) -> Any:
    return message.model_dump(mode="json")


def plain(server: Server) -> Any:
    messages = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
    return _message(_chat(server, temperature=0.5, max_tokens=50).invoke(messages))


async def plain_in_a_loop(server: Server) -> Any:
    return _message(await _chat(server, seed=7, logprobs=True).ainvoke(QUESTION))


def two_choices(server: Server) -> Any:
    return [each.text for each in _chat(server, n=2).generate([[HumanMessage(QUESTION)]]).generations[0]]


def picture(server: Server) -> Any:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    return _message(_chat(server).invoke([HumanMessage([{"type": "text", "text": "What is it?"}, image])]))


def streamed(server: Server, **options: Any) -> Any:
    return [_message(chunk) for chunk in _chat(server, **options).stream(QUESTION)]


async def streamed_in_a_loop(server: Server, **options: Any) -> Any:
    return [_message(chunk) async for chunk in _chat(server, **options).astream(QUESTION)]


def tools(server: Server, **options: Any) -> Any:
    model = _chat(server, **options).bind_tools([_WEATHER])
    asked = model.invoke(QUESTION)
    [call] = asked.tool_calls
    answer = ToolMessage(_WEATHER.invoke(call["args"]), tool_call_id=call["id"])
    return [_message(asked), _message(model.invoke([HumanMessage(QUESTION), asked, answer]))]


def streamed_tools(server: Server, **options: Any) -> Any:
    whole = None
    for chunk in _chat(server, **options).bind_tools([_WEATHER], strict=True).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    return _message(whole)


def agent(server: Server, **options: Any) -> Any:
    answer = create_agent(_chat(server, **options), [_WEATHER]).invoke({"messages": [HumanMessage(QUESTION)]})
    return [[type(each).__name__, each.content] for each in answer["messages"]]


async def agent_streamed(server: Server, **options: Any) -> Any:
    agent = create_agent(_chat(server, **options), [_WEATHER], response_format=Recipe)
    pieces = agent.astream({"messages": [HumanMessage(QUESTION)]}, stream_mode="messages")
    return [_message(piece) async for piece, _ in pieces]


def structured(server: Server, method: str = "json_schema", **options: Any) -> Any:
    return _chat(server, **options).with_structured_output(Recipe, method=method).invoke(QUESTION).model_dump()


def structured_as_json(server: Server) -> Any:
    return _chat(server).with_structured_output(None, method="json_mode").invoke("Answer in JSON.")


def structured_streamed(server: Server, **options: Any) -> Any:
    return [each.model_dump() for each in _chat(server, **options).with_structured_output(Recipe).stream(QUESTION)]


def embeddings(server: Server, **options: Any) -> Any:
    address = {"base_url": server.base_url, "api_key": server.api_key, "max_retries": 0}
    embedding = OpenAIEmbeddings(model=EMBEDDING_MODEL, dimensions=8, **address, **options)
    return [embedding.embed_query("a weir"), embedding.embed_documents(["a weir", "a heron"])]


def old_completions(server: Server) -> Any:
    model = OpenAI(model="gpt-3.5-turbo-instruct", base_url=server.base_url, api_key=server.api_key, max_retries=0)
    return [model.invoke("A weir is"), list(model.stream("A weir is"))]


def conversation_of_responses(server: Server) -> Any:
    model = _chat(
        server, use_responses_api=True, use_previous_response_id=True, include=["reasoning.encrypted_content"]
    )
    first = model.invoke(QUESTION)
    return _message(model.invoke([HumanMessage(QUESTION), first, HumanMessage("And again.")]))


def web_search(server: Server) -> Any:
    return _message(_chat(server, use_responses_api=True).bind_tools([{"type": "web_search"}]).invoke(QUESTION))


_RESPONSES: dict[str, Any] = {"use_responses_api": True}
JOURNEYS: dict[str, Journey] = {
    "plain": plain,
    "plain in a loop": plain_in_a_loop,
    "two choices": two_choices,
    "picture": picture,
    "streamed": streamed,
    "streamed in a loop": streamed_in_a_loop,
    "streamed with usage": partial(streamed, stream_usage=True),
    "tools": tools,
    "streamed tools": streamed_tools,
    "agent": agent,
    "agent streamed": agent_streamed,
    "structured": structured,
    "structured by a function": partial(structured, method="function_calling"),
    "structured as json": structured_as_json,
    "structured streamed": structured_streamed,
    "embeddings of tokens": embeddings,
    "embeddings": partial(embeddings, check_embedding_ctx_length=False),
    "old completions": old_completions,
    "responses": lambda server: _message(_chat(server, **_RESPONSES).invoke(QUESTION)),
    "responses streamed": partial(streamed, **_RESPONSES),
    "responses with tools": partial(tools, **_RESPONSES),
    "responses with an agent": partial(agent, **_RESPONSES),
    "responses structured": partial(structured, **_RESPONSES),
    "responses structured and streamed": partial(structured_streamed, **_RESPONSES),
    "conversation of responses": conversation_of_responses,
    "web search": web_search,
    **failing(plain),
    **failing(streamed, "streamed"),
    **failing(partial(streamed, **_RESPONSES), "responses"),
}

if __name__ == "__main__":
    tell(JOURNEYS)
