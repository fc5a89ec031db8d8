"""What programs do with LlamaIndex, whatever server."""

# mypy: disable-error-code="import-not-found"

from functools import partial
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike

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

_WEATHER = FunctionTool.from_defaults(get_weather)
_MESSAGES = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=QUESTION)]


def _llm(server: Server, kind: Any = OpenAI, **options: Any) -> Any:
    options = {"max_retries": 0, **options}
    return kind(
        model=MODEL,
        api_base=server.base_url,
        api_key=server.api_key,
        default_headers=server.headers,
        timeout=30,
        **options,
    )


def _like(server: Server, **options: Any) -> Any:
    return _llm(server, OpenAILike, is_chat_model=True, is_function_calling_model=True, **options)


def _message(response: Any) -> Any:
    return [response.message.model_dump(mode="json"), response.additional_kwargs]


def completed(server: Server, kind: Any = OpenAI) -> Any:
    completion = _llm(server, kind, max_tokens=50).complete(QUESTION)
    return [completion.text, completion.additional_kwargs]


def plain(server: Server, kind: Any = OpenAI) -> Any:
    return _message(_llm(server, kind).chat(_MESSAGES))


def picture(server: Server, kind: Any = OpenAI) -> Any:
    image = ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png", detail="low")
    return _message(_llm(server, kind).chat([ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), image])]))


def plain_as_like(server: Server) -> Any:
    model = _like(server)
    return [_message(model.chat(_MESSAGES)), [each.delta for each in model.stream_chat(_MESSAGES)]]


async def plain_in_a_loop(server: Server, kind: Any = OpenAI) -> Any:
    return _message(await _llm(server, kind).achat(_MESSAGES))


def streamed(server: Server, kind: Any = OpenAI, **options: Any) -> Any:
    return [[each.delta, each.additional_kwargs] for each in _llm(server, kind, **options).stream_chat(_MESSAGES)]


def streamed_completion(server: Server, kind: Any = OpenAI) -> Any:
    return [each.delta for each in _llm(server, kind).stream_complete(QUESTION)]


async def streamed_in_a_loop(server: Server, kind: Any = OpenAI) -> Any:
    return [each.delta async for each in await _llm(server, kind).astream_chat(_MESSAGES)]


def tools(server: Server, kind: Any = OpenAI) -> Any:
    model = _llm(server, kind)
    asked = model.chat_with_tools([_WEATHER], user_msg=QUESTION)
    [call] = model.get_tool_calls_from_response(asked)
    answer = ChatMessage(
        role="tool",
        content=str(_WEATHER.call(**call.tool_kwargs)),
        additional_kwargs={"tool_call_id": call.tool_id, "call_id": call.tool_id},
    )
    history = [ChatMessage(role="user", content=QUESTION), asked.message, answer]
    return [_message(asked), _message(model.chat_with_tools([_WEATHER], chat_history=history))]


def streamed_tools(server: Server, kind: Any = OpenAI) -> Any:
    model = _llm(server, kind)
    [*_, last] = model.stream_chat_with_tools([_WEATHER], user_msg=QUESTION)
    calls = model.get_tool_calls_from_response(last)
    return [[call.tool_name, call.tool_kwargs] for call in calls]


async def agent(server: Server, kind: Any = OpenAI, **options: Any) -> Any:
    handler = FunctionAgent(tools=[_WEATHER], llm=_llm(server, kind), **options).run(QUESTION)
    events = [type(event).__name__ async for event in handler.stream_events()]
    return [events, str(await handler)]


def structured(server: Server, kind: Any = OpenAI) -> Any:
    prompt = PromptTemplate("A recipe of {dish}.")
    model = _llm(server, kind)
    streamed = [each.model_dump() for each in model.stream_structured_predict(Recipe, prompt, dish="soup")]
    return [model.structured_predict(Recipe, prompt, dish="soup").model_dump(), streamed]


async def structured_by_a_wrapper(server: Server, kind: Any = OpenAI) -> Any:
    answer = await _llm(server, kind).as_structured_llm(Recipe).achat(_MESSAGES)
    return answer.raw.model_dump()


def structured_strictly(server: Server) -> Any:
    return _llm(server, strict=True).structured_predict(Recipe, PromptTemplate(QUESTION)).model_dump()


async def embeddings(server: Server, **options: Any) -> Any:
    address = {"api_base": server.base_url, "api_key": server.api_key, "max_retries": 0}
    embedding = OpenAIEmbedding(model=EMBEDDING_MODEL, dimensions=8, **address, **options)
    many = embedding.get_text_embedding_batch(["a weir", "a heron"])
    return [embedding.get_query_embedding("a weir"), many, await embedding.aget_text_embedding("a\nheron")]


def old_completions(server: Server) -> Any:
    model = OpenAI(
        model="gpt-3.5-turbo-instruct", api_base=server.base_url, api_key=server.api_key, max_tokens=20, max_retries=0
    )
    return [model.complete("A weir is").text, [each.delta for each in model.stream_complete("A weir is")]]


def conversation_of_responses(server: Server) -> Any:
    model = _llm(server, OpenAIResponses, track_previous_responses=True, store=True)
    return [_message(model.chat(_MESSAGES[1:])), _message(model.chat(_MESSAGES[1:]))]


def web_search(server: Server) -> Any:
    return _message(_llm(server, OpenAIResponses, built_in_tools=[{"type": "web_search"}]).chat(_MESSAGES))


_RESPONSES: dict[str, Any] = {"kind": OpenAIResponses}
JOURNEYS: dict[str, Journey] = {
    "completed": completed,
    "plain": plain,
    "picture": picture,
    "plain as like": plain_as_like,
    "plain in a loop": plain_in_a_loop,
    "streamed": streamed,
    "streamed completion": streamed_completion,
    "streamed in a loop": streamed_in_a_loop,
    "streamed with usage": partial(streamed, additional_kwargs={"stream_options": {"include_usage": True}}),
    "tools": tools,
    "streamed tools": streamed_tools,
    "agent": agent,
    "agent without streams": partial(agent, streaming=False),
    "structured": structured,
    "structured by a wrapper": structured_by_a_wrapper,
    "structured strictly": structured_strictly,
    "embeddings": embeddings,
    "old completions": old_completions,
    "responses": partial(plain, **_RESPONSES),
    "responses completed": partial(completed, **_RESPONSES),
    "responses in a loop": partial(plain_in_a_loop, **_RESPONSES),
    "responses with a picture": partial(picture, **_RESPONSES),
    "responses streamed": partial(streamed, **_RESPONSES),
    "responses streamed in a loop": partial(streamed_in_a_loop, **_RESPONSES),
    "responses with tools": partial(tools, **_RESPONSES),
    "responses with streamed tools": partial(streamed_tools, **_RESPONSES),
    "responses with an agent": partial(agent, **_RESPONSES),
    "responses structured": partial(structured_by_a_wrapper, **_RESPONSES),
    "conversation of responses": conversation_of_responses,
    "web search": web_search,
    **failing(plain),
    **failing(streamed, "streamed"),
    **failing(partial(streamed, **_RESPONSES), "responses"),
}

if __name__ == "__main__":
    tell(JOURNEYS)
