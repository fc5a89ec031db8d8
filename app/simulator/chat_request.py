"""What a chat completion request asks for, as far as the simulator heeds it; every other field is ignored.

https://platform.openai.com/docs/api-reference/chat/create
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.simulator.fields import Document, find_number, find_object, read_flag, read_objects, read_text
from app.simulator.refusal import Refusal, invalid_type, invalid_value, missing_parameter
from app.simulator.text import count_tokens
from app.simulator.tool_choice import choose_function

_OUTPUT_TOKENS_MAX: Final = 10_000_000
_CHOICES_MAX: Final = 128
_MESSAGE_TOKENS: Final = 3
_ANSWER_TOKENS: Final = 3
_PART_TOKENS: Final = 85
_TEXT_PARTS: Final = frozenset({"text", "refusal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request that may be answered. `output_tokens_max` is per choice, None when the caller named no maximum."""

    question: str
    prompt_tokens: int
    choice_count: int
    output_tokens_max: int | None
    stream: bool
    include_usage: bool
    tool: Document | None
    """The function to call instead of answering with text: its `name` and `parameters`."""
    schema: Any
    """The JSON schema that the answer must satisfy; None for text."""


def read_chat_request(document: Document) -> ChatRequest:
    """Return the request in *document*; raises Refusal (400)."""
    if document.get("messages") is None:
        raise missing_parameter("messages")
    messages = read_objects(document, "messages")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got length 0 instead."
        raise Refusal(400, message, param="messages", code="empty_array")
    texts = [_texts(message, f"messages[{index}].") for index, message in enumerate(messages)]
    tools = _read_tools(document)
    stream, include_usage = _read_stream(document)
    asked = (texts[i] for i in reversed(range(len(messages))) if messages[i]["role"] == "user")
    return ChatRequest(
        question=" ".join(next(asked, [])),
        prompt_tokens=_count_prompt(messages, texts) + (count_tokens(orjson.dumps(tools).decode()) if tools else 0),
        choice_count=find_number(document, "n", 1, _CHOICES_MAX) or 1,
        output_tokens_max=_read_maximum(document),
        stream=stream,
        include_usage=include_usage,
        tool=_choose_tool(document, tools, messages),
        schema=_read_schema(document),
    )


def _texts(message: Document, within: str) -> list[str]:
    """Return the texts in *message*: its content, or the text parts of it."""
    read_text(message, "role", within=within)
    content = message.get("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise invalid_type(within + "content", "a string or an array of objects", content)
    parts = read_objects(message, "content")
    return [
        read_text(part, part["type"], within=f"{within}content[{index}].")
        for index, part in enumerate(parts)
        if read_text(part, "type", within=f"{within}content[{index}].") in _TEXT_PARTS
    ]


def _count_prompt(messages: list[Document], texts: list[list[str]]) -> int:
    """Return the input's tokens: 3, and per message 3, its texts, its calls of tools, and 85 for any other part."""
    tokens = _ANSWER_TOKENS
    for message, message_texts in zip(messages, texts, strict=True):
        tokens += _MESSAGE_TOKENS + sum(map(count_tokens, message_texts))
        if isinstance(message.get("content"), list):
            tokens += _PART_TOKENS * (len(message["content"]) - len(message_texts))
        if message.get("tool_calls"):
            tokens += count_tokens(orjson.dumps(message["tool_calls"]).decode())
    return tokens


def _read_maximum(document: Document) -> int | None:
    maxima = [find_number(document, name, 1, _OUTPUT_TOKENS_MAX) for name in ("max_completion_tokens", "max_tokens")]
    return min((maximum for maximum in maxima if maximum is not None), default=None)


def _read_stream(document: Document) -> tuple[bool, bool]:
    stream = read_flag(document, "stream")
    options = find_object(document, "stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise invalid_value(
            "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        )
    return True, read_flag(options, "include_usage", within="stream_options.")


def _read_tools(document: Document) -> list[Document]:
    tools = read_objects(document, "tools")
    for index, tool in enumerate(tools):
        within = f"tools[{index}]."
        if read_text(tool, "type", within=within) == "function":
            function = find_object(tool, "function", within=within)
            if function is None:
                raise missing_parameter(within + "function")
            read_text(function, "name", within=f"{within}function.")
    return tools


def _choose_tool(document: Document, tools: list[Document], messages: list[Document]) -> Document | None:
    functions: list[Document] = [tool["function"] for tool in tools if tool["type"] == "function"]
    is_asked = messages[-1]["role"] == "user"
    return choose_function(document.get("tool_choice"), functions, _called(messages), is_asked=is_asked)


def _called(messages: list[Document]) -> set[str]:
    """Return the names of the functions that *messages* tell of."""
    calls = [call for message in messages for call in read_objects(message, "tool_calls")]
    return {str((find_object(call, "function") or {}).get("name")) for call in calls}


def _read_schema(document: Document) -> Any:
    response_format = find_object(document, "response_format")
    if response_format is None:
        return None
    kind = read_text(response_format, "type", within="response_format.")
    if kind == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if kind == "json_schema":
        described = find_object(response_format, "json_schema", within="response_format.")
        if described is None:
            raise missing_parameter("response_format.json_schema")
        read_text(described, "name", within="response_format.json_schema.")
        return described.get("schema") or {"type": "object"}
    if kind != "text":
        raise invalid_value("response_format.type", f"Invalid value: '{kind}'.")
    return None
