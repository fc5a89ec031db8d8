"""The most that a response can use, and what it refers to, read from its request alone. Pure; in doubt more, not less.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from app.gateway.bound import CACHE_TTL_DEFAULT, IMAGE_TOKENS_MAX, counted, scalars
from app.gateway.usage import objects
from app.prices.service import Bound
from app.prices.usage import Usage

TOOL_CALLS_DEFAULT: Final = 8
"""Calls of built-in tools in a response under a budget that names no maximum itself."""
_TURNS_MORE: Final = 2
"""How often a model reads its input beside once for each call of a tool: to begin, and when a call was one too many."""
_FRAME_TOKENS: Final = 512
"""What a model is told around its input and its tools."""
_ITEM_TOKENS: Final = 16
_ENCRYPTED: Final = "encrypted_content"
_RUN_BY_CALLERS: Final = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"}
)
_PRICED: Final = frozenset(
    {"code_interpreter", "file_search", "mcp", "namespace", "programmatic_tool_calling", "shell", "tool_search"}
)
"""Of the tools that the upstream runs, those whose fees, if any, are in the price of the model that calls them."""
_CONTAINER_SESSIONS: Final = {"1g": 1, "4g": 4, "16g": 16, "64g": 64}
"""How many sessions of the code interpreter a container costs as much as, by its `memory_limit`; others: the most."""
_DRAWS_BY: Final = {"image_generation": "gpt-image-2.6-sunburst"}
"""By kind, the model of a tool that names none."""
_WORDS: Final = frozenset(
    {
        "apply_patch_call",
        "apply_patch_call_output",
        "computer_call",
        "computer_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "function_call",
        "function_call_output",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "message",
        "reasoning",
    }
)
"""Items that are all there in the request; of others the upstream may know more than is sent."""
_TEXTS: Final = frozenset({"input_text", "output_text", "reasoning_text", "refusal", "summary_text", "text"})
_IMAGES: Final = frozenset({"computer_screenshot", "input_image"})


class _Media(NamedTuple):
    images: int = 0
    inlined_bytes: int = 0
    heard_bytes: int = 0
    hears: bool = False
    is_unknown: bool = False

    def with_(self, other: "_Media") -> "_Media":
        return _Media(
            self.images + other.images,
            self.inlined_bytes + other.inlined_bytes,
            self.heard_bytes + other.heard_bytes,
            self.hears or other.hears,
            self.is_unknown or other.is_unknown,
        )


class HostedTools(NamedTuple):
    """The tools in a request that the upstream runs by itself, as often as it likes or is let."""

    kinds: frozenset[str]
    container_sessions: int = 1
    """How many sessions the dearest container costs that they may make."""

    @property
    def are_there(self) -> bool:
        """Whether there is any."""
        return bool(self.kinds)

    @property
    def are_unpriced(self) -> bool:
        """Whether any has a price that is not part of its model's: one that draws by another model, or a new one."""
        return any(kind not in _PRICED and not kind.startswith("web_search") for kind in self.kinds)

    def fees(self, calls: int) -> Usage:
        """Return what *calls* of them can cost beside tokens."""
        kinds = {"web_search" if kind.startswith("web_search_2") else kind for kind in self.kinds}
        is_any = "prompt" in kinds
        previews = any(kind.startswith("web_search_preview") for kind in kinds)
        runs = not kinds.isdisjoint({"code_interpreter", "shell", "programmatic_tool_calling"})
        return Usage(
            web_searches=calls if is_any or "web_search" in kinds else 0,
            web_search_previews=calls if is_any or previews else 0,
            file_searches=calls if is_any or "file_search" in kinds else 0,
            code_interpreter_sessions=calls * self.container_sessions if is_any or runs else 0,
        )


def hosted_tools(document: Mapping[str, Any]) -> HostedTools:
    """Return the tools that the upstream runs; a stored prompt may have any of them, and so may agents of its own."""
    tools = _tools(document)
    kinds = {str(tool.get("type")) for tool in tools if not _is_run_by_caller(tool)}
    if document.get("prompt") is not None:
        kinds.add("prompt")
    agents = document.get("multi_agent")
    if agents is not None and not (isinstance(agents, dict) and agents.get("enabled") is False):
        kinds.add("multi_agent")  # as many as it likes, each of which reads its own input again and again
    return HostedTools(frozenset(kinds), container_sessions(tools))


def tool_models(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the models that the tools of a request work with: what they name, or draw by if they name none."""
    named = (tool.get("model") or _DRAWS_BY.get(str(tool.get("type"))) for tool in _tools(document))
    return tuple(dict.fromkeys(model for model in named if isinstance(model, str)))


def container_sessions(tools: list[dict[str, Any]]) -> int:
    """Return how many sessions of the code interpreter the dearest container costs that *tools* may make."""
    places = objects([tool.get(name) for tool in tools for name in ("container", "environment")])
    limits = [str(place["memory_limit"]) for place in places if place.get("memory_limit") is not None]
    most = max(_CONTAINER_SESSIONS.values())
    return max((_CONTAINER_SESSIONS.get(limit, most) for limit in limits), default=1)


def responses_bound(document: Mapping[str, Any], body: bytes) -> Bound:
    """Return the most that the request *document*, whose bytes are *body*, can use; its maxima are known to be ones."""
    media = _media(document.get("input"))
    tools = hosted_tools(document)
    calls = (document.get("max_tool_calls") or TOOL_CALLS_DEFAULT) if tools.are_there else 0
    cache = document.get("prompt_cache_options")
    is_more = any(document.get(name) is not None for name in ("previous_response_id", "conversation", "prompt"))
    return Bound(
        input_tokens=len(body) - media.inlined_bytes + IMAGE_TOKENS_MAX * media.images + _FRAME_TOKENS,
        output_tokens=document.get("max_output_tokens") or None,
        units=tools.fees(calls),
        fills_context=tools.are_there or media.is_unknown or is_more,
        hears=media.hears or media.is_unknown or is_more,
        sees=media.images > 0 or media.is_unknown or is_more or tools.are_there,
        keeps_cache=isinstance(cache, dict) and cache.get("ttl") not in (None, CACHE_TTL_DEFAULT),
        inputs=calls + _TURNS_MORE if tools.are_there else 1,
        is_unpriced=tools.are_unpriced,
    )


def counted_responses_bound(document: Mapping[str, Any], bound: Bound, count: Callable[[str], int]) -> Bound:
    """Return *bound* with the text of *document* counted in tokens, which *count* does; never more than *bound* was.

    What is not input or instructions is twice its tokens as JSON. Raises TypeError for a document that is nested too
    deeply to be written as JSON.
    """
    media = _media(document.get("input"))
    tokens = _FRAME_TOKENS + IMAGE_TOKENS_MAX * media.images + media.heard_bytes
    for name, value in document.items():
        if name in ("input", "instructions"):
            items = value if isinstance(value, list) else [value]
            tokens += sum(_ITEM_TOKENS + sum(counted(scalar, count) for scalar in scalars(item)) for item in items)
        else:
            written = orjson.dumps({name: value}).decode()
            tokens += min(len(written.encode()), 2 * count(written))
    return bound._replace(input_tokens=min(bound.input_tokens, tokens))


def _tools(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = objects(document.get("tools"))
    for item in objects(document.get("input")):
        tools += objects(item.get("tools"))
    return tools


def _is_run_by_caller(tool: dict[str, Any]) -> bool:
    tools = [tool]
    for each in tools:  # not by recursion, as a body may be nested deeper than Python recurses
        kind = str(each.get("type"))
        if kind == "namespace":
            tools += objects(each.get("tools"))
        elif kind == "shell":
            environment = each.get("environment")
            if not isinstance(environment, dict) or environment.get("type") != "local":
                return False
        elif kind not in _RUN_BY_CALLERS:
            return False
    return True


def _media(items: object) -> _Media:
    media = _Media()
    for item in objects(items):
        media = media.with_(_media_of_item(item))
    return media


def _media_of_item(item: Mapping[str, Any]) -> _Media:
    kind = str(item.get("type", "message" if "role" in item else None))
    if kind == "image_generation_call":
        result = item.get("result")
        return _Media(1, len(result)) if isinstance(result, str) else _Media(1, is_unknown=True)
    if kind == "reasoning":
        return _Media(is_unknown=item.get(_ENCRYPTED) is None and not item.get("content"))
    media = _Media(is_unknown=kind not in _WORDS)
    for part in _parts(item):
        media = media.with_(_media_of_part(part))
    return media


def _parts(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("content", "output"):
        value = item.get(name)
        yield from objects([value] if isinstance(value, dict) else value)


def _media_of_part(part: Mapping[str, Any]) -> _Media:
    kind = str(part.get("type"))
    if kind in _IMAGES:
        url = part.get("image_url")
        return _Media(1, len(url) if isinstance(url, str) and url.startswith("data:") else 0)
    if kind == "input_audio":
        return _Media(hears=True, heard_bytes=len(str(part.get("input_audio"))))
    return _Media(is_unknown=kind not in _TEXTS)
