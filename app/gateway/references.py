"""What a request names of what is stored upstream, and whether it can be read in one way only. Pure.

Whose such an object is must be asked before a request that names it is sent.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.errors import InvalidRequest
from app.gateway.usage import objects

_NAMES_ONE: Final = frozenset({"container", "container_id", "file_id", "skill_id"})
_NAMES_SOME: Final = frozenset({"file_ids", "vector_store_ids"})
# What is written there is the caller's own, or what the upstream once said; nothing is looked up by it.
_NOT_LOOKED_UP: Final = frozenset(
    {"annotations", "arguments", "input_schema", "logprobs", "metadata", "parameters", "results", "schema"}
)


def references_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of all that the request *document*, of any endpoint, names of stored objects, each once."""
    found: dict[str, None] = {}
    cache = document.get("prompt_cache_options")
    compared = cache.get("comparison_response_id") if isinstance(cache, dict) else None
    for named in (document.get("previous_response_id"), document.get("conversation"), compared):
        value = named.get("id") if isinstance(named, dict) else named
        if isinstance(value, str):
            found[value] = None
    for item in objects(document.get("input")):
        if _is_looked_up(item) and isinstance(item.get("id"), str):
            found[item["id"]] = None
    said = objects([message.get("audio") for message in objects(document.get("messages"))])
    found |= dict.fromkeys(sound["id"] for sound in said if isinstance(sound.get("id"), str))
    found |= dict.fromkeys(_named([document.get(name) for name in ("input", "messages", "tools")]))
    found |= dict.fromkeys(_named({name: document.get(name) for name in ("audio", "voice")}))
    return (*found, *(each for each in _of_prompt(document) if each not in found))


def session_references(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of all that an *event* of a realtime session names; its items are the session's own."""
    found: dict[str, None] = {}
    for part in objects([event.get("session"), event.get("response")]):
        found |= dict.fromkeys(_of_prompt(part))
        found |= dict.fromkeys(_named({name: part.get(name) for name in ("audio", "voice")}))
    return tuple(found)


def refuse_repeated(body: bytes) -> None:
    """Raise InvalidRequest when any object in the JSON of *body* has a member twice.

    Two parsers may believe either (RFC 8259, section 4): one that names an own file to Weir could name another to
    the upstream.
    """
    try:
        json.loads(body, object_pairs_hook=_once)
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        times = Counter(name for name, _ in pairs)
        name = next(name for name in times if times[name] > 1)[:100]
        raise InvalidRequest(f"Invalid '{name}': it is there more than once.", param=name)
    return members


def _of_prompt(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the variables of a stored prompt name, whatever they are called themselves."""
    prompt = document.get("prompt")
    variables = prompt.get("variables") if isinstance(prompt, dict) else None
    if isinstance(variables, dict):
        yield from _named(list(variables.values()))


def _is_looked_up(item: Mapping[str, Any]) -> bool:
    """Tell whether an item is only named: the upstream finds by its id what is not in the request."""
    kind = item.get("type")
    if kind == "image_generation_call":
        return not item.get("result")
    if kind == "reasoning":
        return not item.get("encrypted_content") and not item.get("content")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _named(value: object) -> Iterator[str]:
    left = [value]
    while left:  # not by recursion, as a body may be nested deeper than Python recurses
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if name in _NAMES_ONE and isinstance(inner, str):
                    if name != "skill_id" or inner.startswith("skill_"):  # others are everybody's
                        yield inner
                elif name in _NAMES_SOME and isinstance(inner, list):
                    yield from (each for each in inner if isinstance(each, str))
                elif name not in _NOT_LOOKED_UP:
                    if name == "voice" and isinstance(inner, dict) and isinstance(inner.get("id"), str):
                        yield inner["id"]
                    left.append(inner)
