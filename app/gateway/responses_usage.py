"""What a response says that it used: tokens, and calls of tools that have a price of their own. Pure, suspicious."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from app.gateway.responses_bound import container_sessions, hosted_tools
from app.gateway.stream import StoredObject
from app.gateway.usage import detail, objects, text_tokens, usage_of
from app.prices.usage import Usage

PENDING: Final = frozenset({"queued", "in_progress"})
"""What the status of a response is while the upstream works on it."""
_PREVIEW: Final = "web_search_preview"


class NamedTools(NamedTuple):
    """What a request says of its tools that decides about what calls of them cost."""

    are_previews: bool = False
    """Its searches of the web are billed as the `web_search_preview` tools are."""
    containers: AbstractSet[str] = frozenset()
    """Ids of the containers that it names: they were there before, and containers cost when they are made."""
    container_sessions: int = 1
    """How many sessions of the code interpreter each other container costs."""


NO_TOOLS: Final = NamedTools()


def named_tools(request: Mapping[str, Any]) -> NamedTools:
    """Return what the document *request* says of its tools."""
    hosted = hosted_tools(request)
    are_previews = any(kind.startswith(_PREVIEW) for kind in hosted.kinds)
    tools = objects(request.get("tools"))
    named = {tool["container"] for tool in tools if isinstance(tool.get("container"), str)}
    named |= containers_of(tools) | containers_of(objects(request.get("input")))
    return NamedTools(are_previews, frozenset(named), hosted.container_sessions)


def responses_usage(response: Mapping[str, Any], tools: NamedTools) -> Usage | None:
    """Return what *response* used, whose request names *tools*; None when it does not say so or it cannot be true.

    https://platform.openai.com/docs/api-reference/responses/object (usage, output)
    """
    reported = response.get("usage")
    if not isinstance(reported, dict):
        return None
    read, written = reported.get("input_tokens_details"), reported.get("output_tokens_details")
    by_lifetime = read.get("cache_write_tokens_details") if isinstance(read, dict) else None
    counts = {
        "input_tokens": reported.get("input_tokens"),
        "cached_input_tokens": detail(read, "cached_tokens"),
        "cache_write_tokens": detail(read, "cache_write_tokens"),
        "cache_write_12h_tokens": detail(by_lifetime, "ttl_12h_tokens"),
        "input_audio_tokens": detail(read, "audio_tokens"),
        "input_image_tokens": detail(read, "image_tokens"),
        "output_tokens": reported.get("output_tokens"),
        "reasoning_tokens": detail(written, "reasoning_tokens"),
        "output_audio_tokens": detail(written, "audio_tokens"),
    }
    return usage_of(counts, tools_usage(response, tools))


def tools_usage(response: Mapping[str, Any], tools: NamedTools) -> Usage:
    """Return the calls of *tools* in *response* that are paid for one by one."""
    output = objects(response.get("output"))
    kinds = [item.get("type") for item in output]
    searches = sum(_is_search(item) for item in output)
    previews = searches if tools.are_previews else 0
    # Only the answer says what tools a stored prompt has.
    sessions = max(tools.container_sessions, container_sessions(objects(response.get("tools"))))
    return Usage(
        images=kinds.count("image_generation_call"),
        web_searches=searches - previews,
        web_search_previews=previews,
        file_searches=kinds.count("file_search_call"),
        code_interpreter_sessions=sessions * len(containers_of(output) - tools.containers),
    )


def containers_of(items: list[dict[str, Any]]) -> set[str]:
    """Return the ids of the containers that *items* ran in."""
    places = [*items, *objects([item.get("environment") for item in items])]
    return {place["container_id"] for place in places if isinstance(place.get("container_id"), str)}


def stored_objects(response: Mapping[str, Any], *, stores: bool) -> tuple[StoredObject, ...]:
    """Return what the upstream keeps of a response: containers in any case, itself and its items if it *stores* it."""
    output = objects(response.get("output"))
    stored = [StoredObject(container, "container") for container in sorted(containers_of(output))]
    if stores:
        named = [("response", response.get("id")), *(("item", item.get("id")) for item in output)]
        stored += [StoredObject(object_id, kind) for kind, object_id in named if isinstance(object_id, str)]
    return tuple(stored)


def output_tokens(response: Mapping[str, Any]) -> int:
    """Return about how many tokens the output of a response has, where it does not say so."""
    tokens = 0
    left: list[object] = [response.get("output")]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.get(name) for name in ("content", "summary", "text", "refusal", "arguments", "input"))
        elif isinstance(value, str):
            tokens += text_tokens(value.encode())
    return tokens


def _is_search(item: Mapping[str, Any]) -> bool:
    """Tell whether *item* is a search of the web; opening what was found, or looking in it, costs nothing."""
    action = item.get("action")
    kind = action.get("type", "search") if isinstance(action, dict) else "search"
    return item.get("type") == "web_search_call" and kind == "search"
