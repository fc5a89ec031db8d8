"""A maximum that Weir sets is really in the body, and the only thing that changed in it."""

from typing import Any

import orjson
import pytest

from app.gateway.operations.chat import ChatCompletions

CHAT = ChatCompletions()
START = b' { "model":"m","messages":[{"role":"user","content":"caf\\/"}]'


def capped(body: bytes, output_tokens: int = 256) -> bytes:
    request = CHAT.read(body, {})
    assert not request.is_capped
    return CHAT.capped(request.body, output_tokens)


def test_the_maximum_is_put_in_front_and_every_other_byte_stays() -> None:
    body = START + b' ,"big":1.10, "twice":1,"twice":2 }\n'

    assert capped(body) == body.replace(b"{", b'{"max_completion_tokens":256,', 1)


def test_it_stands_beside_the_request_for_usage() -> None:
    body = capped(START + b',"stream":true}')

    assert orjson.loads(body)["stream_options"] == {"include_usage": True}
    assert orjson.loads(body)["max_completion_tokens"] == 256


@pytest.mark.parametrize("name", [b"max_completion_tokens", b"max\\u005fcompletion_tokens"])
def test_a_null_is_replaced(name: bytes) -> None:
    body = START + b',"%b" : null,"last":"max_completion_tokens"}' % name

    assert capped(body) == body.replace(b"null", b"256")


@pytest.mark.parametrize(
    "tail",
    [
        b',"max_tokens":null}',
        b',"metadata":{"max_completion_tokens":null}}',
        b',"stop":"\\u0061"}',
        b',"user":"\\"max_completion_tokens\\":null"}',
    ],
)
def test_what_only_looks_like_a_maximum_is_left_alone(tail: bytes) -> None:
    body = START + tail

    assert capped(body) == body.replace(b"{", b'{"max_completion_tokens":256,', 1)


@pytest.mark.parametrize("maximum", [b"", b',"max_tokens":null', b',"max_completion_tokens":null'])
def test_a_request_with_a_prediction_gets_the_name_that_goes_with_it(maximum: bytes) -> None:
    body = START + maximum + b',"prediction":{"type":"content","content":"x"}}'
    document: dict[str, Any] = orjson.loads(capped(body))

    assert document["max_tokens"] == 256
    assert document.get("max_completion_tokens") is None


def test_no_parser_reads_another_value() -> None:
    document = orjson.loads(capped(START + b',"max_completion_tokens":null,"x":{"max_completion_tokens":9}}', 17))

    assert document["max_completion_tokens"] == 17
    assert capped(START + b"}", 17).count(b"max_completion_tokens") == 1
