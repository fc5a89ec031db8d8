"""Streams of completions say what they used only when asked to: asks, where the caller did not. Pure.

https://platform.openai.com/docs/api-reference/chat/create (stream_options)
"""

from typing import Any, Final

import orjson

from app.errors import InvalidRequest, InvalidType
from app.gateway.body import json_name, optional
from app.gateway.operations.operation import MeteredRequest
from app.gateway.splice import put_in_front, replace_member

_ASK_FOR_USAGE: Final = b'"stream_options":{"include_usage":true},'


def ask_for_usage(request: MeteredRequest, document: dict[str, Any]) -> None:
    """Make *request*, whose body is *document*, what is sent: where it wants a stream, with usage in that.

    Every byte stays as it came but those of the stream options. Raises InvalidType or InvalidRequest.
    """
    if not optional(document, "stream", bool):
        return
    options = optional(document, "stream_options", dict) or {}
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidType("stream_options.include_usage", expected="a boolean", got=json_name(wanted))
    request.streamed = True
    if not wanted:
        request.hides_usage = True
        request.body = _with_usage(request.body, document, options)


def _with_usage(body: bytes, document: dict[str, Any], options: dict[str, Any]) -> bytes:
    if "stream_options" not in document:
        return put_in_front(body, _ASK_FOR_USAGE)
    try:
        asking = orjson.dumps({**options, "include_usage": True})
    except orjson.JSONEncodeError:  # it writes less deeply nested JSON than it reads
        raise InvalidRequest("Invalid 'stream_options': nested too deeply.", param="stream_options") from None
    return replace_member(body, "stream_options", asking)
