"""Finds and replaces members of a JSON object in its bytes, so that all others stay as the caller wrote them.

Parsing and writing a body anew would lose repeated names, the digits of large numbers, and how it was escaped.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Final

import orjson

# In JSON that is known to be valid, brackets outside of strings are all it takes to know how deep one is.
_TOKEN: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+")(\s*+:\s*+)?|[{}\[\]]')
_SCALAR: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^\s,}\]"{\[]++')
_MESSAGE_DEPTH: Final = 3
"""How many brackets are open inside a message, in the array of the object."""


def replace_member(body: bytes, name: str, value: bytes) -> bytes:
    """Return the JSON object in *body* with *value* for its member *name*, every other byte as it came.

    Of several with this name the last is replaced: it is the one that parsers believe (RFC 8259, section 4). Where
    there is none, it goes in front of the others; the object must have some.
    """
    depth, start, end = 0, 0, 0
    for token in _TOKEN.finditer(body):
        opening = token[0][:1]
        if opening in b"{[":
            depth += 1
        elif opening in b"}]":
            depth -= 1
            if depth == 1 and end < 0:
                end = token.end()
        elif depth == 1 and token[2] is not None and orjson.loads(token[1]) == name:
            start = token.end()
            scalar = _SCALAR.match(body, start)
            end = -1 if scalar is None else scalar.end()
    if not start:
        return put_in_front(body, b'"%b":%b,' % (name.encode(), value))
    return body[:start] + value + body[end:]


def put_in_front(body: bytes, member: bytes) -> bytes:
    """Return the JSON object in *body*, which has members, with *member* before them; it is written with its comma."""
    start = body.index(b"{") + 1
    return body[:start] + member + body[start:]


def find_repeated(body: bytes, names: AbstractSet[str], message_names: AbstractSet[str]) -> str | None:
    """Return the first of *names* that is twice in the JSON object in *body*, or of *message_names* in a message.

    Written as `n` and `messages[3].content`; None when each is there at most once. *names* has `messages` in it.
    """
    depth, index = 0, -1
    within = ""
    seen: set[str] = set()
    seen_in_message: set[str] = set()
    for token in _TOKEN.finditer(body):
        opening = token[0][:1]
        if opening in b"{[":
            depth += 1
            if depth == _MESSAGE_DEPTH and within == "messages":
                index += 1
                seen_in_message = set()
        elif opening in b"}]":
            depth -= 1
        elif token[2] is not None and depth == 1:
            within = str(orjson.loads(token[1]))
            if within in seen:
                return within
            seen |= {within} & names
        elif token[2] is not None and depth == _MESSAGE_DEPTH and within == "messages":
            name = str(orjson.loads(token[1]))
            if name in seen_in_message:
                return f"messages[{index}].{name}"
            seen_in_message |= {name} & message_names
    return None
