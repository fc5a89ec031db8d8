"""What a request for a response asks for, as far as the simulator heeds it; every other field is ignored.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.simulator.chat_request import ChatRequest
from app.simulator.fields import Document, find_number, find_object, read_flag, read_objects
from app.simulator.refusal import invalid_type, missing_parameter
from app.simulator.text import count_tokens
from app.simulator.tool_choice import choose_function

HOSTED: Final = {
    "web_search": "web_search_call",
    "web_search_preview": "web_search_call",
    "file_search": "file_search_call",
    "code_interpreter": "code_interpreter_call",
    "image_generation": "image_generation_call",
    "mcp": "mcp_call",
}
"""The tools that the simulator runs, each once, and the items that tell of it."""
_NUMBER_MAX: Final = 10_000_000
_ITEM_TOKENS: Final = 3
_PART_TOKENS: Final = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    """A request that may be answered."""

    chat: ChatRequest
    document: Document
    items: list[Document]
    """Its input as items."""
    calls: list[Document]
    """The tools that are run for it."""
    stores: bool
    is_background: bool


def read_response_request(document: Document, tokens_of_previous: Callable[[str], int]) -> ResponseRequest:
    """Return the request in *document*; raises Refusal. *tokens_of_previous* is asked for what it goes on from."""
    items = _read_items(document)
    texts = [_texts(item) for item in items]
    tools = read_objects(document, "tools")
    functions = [tool for tool in tools if tool.get("type") == "function"]
    calls_max = find_number(document, "max_tool_calls", 1, _NUMBER_MAX)
    tokens = sum(_ITEM_TOKENS + sum(map(count_tokens, each)) for each in texts) + _media_tokens(items)
    tokens += count_tokens(str(document.get("instructions") or "")) + _ITEM_TOKENS
    tokens += count_tokens(orjson.dumps(tools).decode()) if tools else 0
    called = {str(item.get("name")) for item in items if item.get("type") == "function_call"}
    is_asked = bool(items) and items[-1].get("role") == "user"
    previous = document.get("previous_response_id")
    schema = (find_object(document, "text") or {}).get("format") or {}
    chat = ChatRequest(
        question=" ".join(texts[-1]) if texts else "",
        prompt_tokens=tokens + (tokens_of_previous(previous) if isinstance(previous, str) else 0),
        choice_count=1,
        output_tokens_max=find_number(document, "max_output_tokens", 1, _NUMBER_MAX),
        stream=read_flag(document, "stream"),
        include_usage=False,
        tool=choose_function(document.get("tool_choice"), functions, called, is_asked=is_asked),
        schema=(schema.get("schema") or {"type": "object"}) if schema.get("type") == "json_schema" else None,
    )
    return ResponseRequest(
        chat=chat,
        document=document,
        items=items,
        calls=[tool for tool in tools if tool.get("type") in HOSTED][:calls_max],
        stores=document.get("store") is not False,
        is_background=read_flag(document, "background"),
    )


def _read_items(document: Document) -> list[Document]:
    value = document.get("input")
    if value is None and document.get("prompt") is None and document.get("previous_response_id") is None:
        raise missing_parameter("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]
    if value is not None and not isinstance(value, list):
        raise invalid_type("input", "a string or an array of objects", value)
    return read_objects(document, "input")


def _texts(item: Document) -> list[str]:
    texts = []
    for name in ("content", "output", "arguments"):
        value: Any = item.get(name)
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            texts += [part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return texts


def _media_tokens(items: list[Document]) -> int:
    parts = [part for item in items if isinstance(item.get("content"), list) for part in item["content"]]
    return _PART_TOKENS * sum(isinstance(part, dict) and "text" not in part for part in parts)
