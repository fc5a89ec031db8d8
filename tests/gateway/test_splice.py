"""Replacing one member of a JSON object, compared with parsing and writing it anew."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateway.splice import replace_member

VALUE = b'{"include_usage":true}'
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from(['{"', "}", '"a":', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("a"), inner, max_size=3),
    max_leaves=12,
)


@given(
    before=st.dictionaries(st.text(), _JSON, max_size=3),
    replaced=_JSON,
    after=st.dictionaries(st.text(), _JSON, max_size=3),
    indented=st.booleans(),
)
def test_the_named_member_is_replaced_and_nothing_else(
    before: dict[str, Any], replaced: Any, after: dict[str, Any], indented: bool
) -> None:
    document = {**before, "a": replaced, **{key: value for key, value in after.items() if key != "a"}}
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indented else None)

    spliced = replace_member(body, "a", VALUE)

    assert orjson.loads(spliced) == {**document, "a": {"include_usage": True}}
    head, tail = spliced.split(VALUE) if spliced.count(VALUE) == 1 else (b"", b"")
    assert body.startswith(head)
    assert body.endswith(tail)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"\\u0061":null}', b'{"\\u0061":%b}'),
        (b'{"b":{"a":null},"a" : null }', b'{"b":{"a":null},"a" : %b }'),
        (b'{"b":"a","a":{"a":{}}}', b'{"b":"a","a":%b}'),
        (b'{"a":{},"b":[{}],"a":{"x":1},"c":{}}', b'{"a":{},"b":[{}],"a":%b,"c":{}}'),
        (b'{"a":5,"b":{},"a":{}}', b'{"a":5,"b":{},"a":%b}'),
        (b' { "b":{"a":null},"c":["a"]}', b' {"a":%b, "b":{"a":null},"c":["a"]}'),
        (b'{"b":"\\"a\\":{}","a":{"\\"}":"{"}}', b'{"b":"\\"a\\":{}","a":%b}'),
    ],
)
def test_escaped_nested_repeated_and_quoted_names_are_told_apart(body: bytes, expected: bytes) -> None:
    assert replace_member(body, "a", VALUE) == expected.replace(b"%b", VALUE)
