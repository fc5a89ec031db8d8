"""Which calls may be answered from the cache, and what is kept for others: nothing unless somebody asks. Pure."""

import hashlib
import re
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import orjson

from app.answers.policy import CachePolicy
from app.cache_settings import Cache as CacheSettings
from app.errors import InvalidRequest
from app.gateway.answer import Answer, Inbound, lasting
from app.gateway.body import all_objects, says_error
from app.gateway.operations.operation import MeteredRequest, Operation
from app.gateway.responses_bound import hosted_tools

HEADER: Final = "x-weir-cache"
_WISH: Final = re.compile(r"on|off|ttl=([1-9][0-9]{0,8})", re.ASCII)
_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?", re.ASCII)
_SAMPLED: Final = frozenset({"chat.completions", "completions", "responses"})
"""Operations whose answers are drawn by chance, unless the request says otherwise."""
_ADDRESSES: Final = frozenset({"file_url", "image_url", "url"})
_CHANGED: Final = (b"x-weir-max-output-tokens", b"x-weir-model")


class Wish(NamedTuple):
    """How a call may be answered from the cache."""

    ttl_seconds: int
    """How long its answer is kept."""
    age_seconds_max: int
    """How old an answer may be that it gets."""
    keeps: bool = True
    """Whether its answer may be kept at all."""


def read_wish(inbound: Inbound, policy: CachePolicy, settings: CacheSettings) -> Wish | None:
    """Return what the caller and its project want, None where that is nothing.

    Raises InvalidRequest for another `x-weir-cache` than `on`, `off` or `ttl=` and seconds. What `Cache-Control` says
    (RFC 9111, section 5.2.1) only ever makes less of it.
    """
    words = inbound.values(HEADER)
    asked = _WISH.fullmatch(",".join(words).strip().lower()) if words else None
    if words and asked is None:
        raise InvalidRequest(
            f"Invalid header '{HEADER}': it must be 'on', 'off', or 'ttl=' and whole seconds, once.", param=HEADER
        )
    is_wanted = policy.enabled if asked is None else policy.enabled is not False and asked[0] != "off"
    if not is_wanted:
        return None
    own_seconds = asked[1] if asked is not None else None
    ttl_seconds = int(own_seconds) if own_seconds else policy.ttl_seconds or settings.ttl_seconds
    ttl_seconds = min(ttl_seconds, settings.ttl_seconds_max)
    age_seconds, keeps = ttl_seconds, True
    for directive in ",".join(inbound.values("cache-control")).lower().split(","):
        if directive.strip() in ("no-store", "no-cache"):
            age_seconds, keeps = 0, keeps and directive.strip() == "no-cache"
        elif limit := _MAX_AGE.fullmatch(directive.strip()):
            age_seconds = min(age_seconds, int(limit[1]))
    return Wish(ttl_seconds, age_seconds, keeps)


def is_repeatable(operation: Operation, request: MeteredRequest) -> bool:
    """Tell whether the very same request, sent again, is meant to have the very same answer, and has no other effect.

    An embedding is a function of its input. Other answers are drawn by chance, unless the caller asked for the
    likeliest (`temperature` 0) or for the same draw again (`seed`). A stream is not kept, as its bytes are its timing
    too. What the upstream stores, or goes on with, is made for one caller; what a request names of it, or by an
    address, may be something else tomorrow; and tools that the upstream runs look things up, or do them.
    """
    if request.streamed or request.stores or request.is_background or request.references:
        return False
    if operation.name not in _SAMPLED:
        return operation.name == "embeddings"
    document = orjson.loads(request.body)
    temperature, seed = document.get("temperature"), document.get("seed")
    if not (type(seed) is int or (type(temperature) in (int, float) and temperature == 0)):
        return False
    # The `prompt` of a completion is its input; elsewhere it is one that is stored upstream, with tools perhaps.
    runs_tools = operation.name != "completions" and hosted_tools(document).are_there
    searches = document.get("web_search_options") is not None
    speaks = document.get("audio") is not None  # the upstream keeps what was said, under an id of one caller
    return not (runs_tools or searches or speaks or _reads_from_elsewhere(document))


def is_keepable(answer: Answer, outcome: str | None) -> bool:
    """Tell whether *answer*, to a call that ended with *outcome*, is whole, and what others would have got as well."""
    is_changed = any(name in _CHANGED for name, _ in answer.headers)
    is_whole = outcome == "completed" and answer.status == HTTPStatus.OK
    return is_whole and not is_changed and isinstance(answer.body, bytes) and not says_error(answer.body)


def kept_headers(answer: Answer, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of *answer* that are kept with its *body*: with an entity tag (RFC 9110, section 8.8.3)."""
    headers = lasting(answer.headers)
    if not any(name == b"etag" for name, _ in headers):
        headers.append((b"etag", b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()))
    return headers


def _reads_from_elsewhere(document: dict[str, Any]) -> bool:
    """Tell whether there is an address in *document* that the upstream would read from."""
    members = (member for each in all_objects(document) for member in each.items())
    return any(
        name in _ADDRESSES and isinstance(value, str) and not value.startswith("data:") for name, value in members
    )
