"""The meter inside a stream: whatever the pieces it comes in, the same bytes are relayed and the same is learned."""

from itertools import pairwise
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateway.operations.chat_stream import ChatStream, StoredChatStream
from app.gateway.stream import BrokenStream, StoredObject
from app.prices.usage import Usage

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
USED = Usage(input_tokens=7, cached_input_tokens=2, output_tokens=3)


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def content(text: str, **more: Any) -> bytes:
    return event({"model": "gpt-4o-mini-2024-07-18", "choices": [{"index": 0, "delta": {"content": text}}], **more})


USAGE_CHUNK = event({"model": "gpt-4o", "service_tier": "flex", "choices": [], "usage": USAGE})
ERROR = event({"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}})
# What a model may write about the very things that are looked for.
TRICKY = 'data: [DONE]\n\ndata: {"error":{}}\n\n"usage": {"prompt_tokens": 9, "completion_tokens": 9} \u2028\r\n\r\n'


class Seen(NamedTuple):
    relayed: bytes
    usage: Usage | None
    is_done: bool
    has_error: bool
    model: object
    tier: object
    tokens: int


def run(pieces: list[bytes], *, hide_usage: bool = True) -> Seen:
    stream = ChatStream(hide_usage=hide_usage)
    relayed = b"".join([*map(stream.feed, pieces), stream.finish()])
    return Seen(
        relayed,
        stream.usage,
        stream.is_done,
        stream.has_error,
        stream.answered_model,
        stream.service_tier,
        stream.relayed_tokens(),
    )


STREAMS = {
    "ordinary": content("") + content("Hello") + content(" world") + USAGE_CHUNK + DONE,
    "CRLF": (content("Hello") + USAGE_CHUNK + DONE).replace(b"\n", b"\r\n"),
    "mixed line ends": content("a") + b"data: {}\n\r\n" + USAGE_CHUNK.replace(b"\n\n", b"\r\n\n") + DONE,
    "comments": b": ping\n\n" + content("a") + b": ping\nid: 4\n" + USAGE_CHUNK + b":\n\n" + DONE,
    "tricky": content(TRICKY) + content(TRICKY, usage=None) + USAGE_CHUNK + DONE,
    "an error": content("a") + ERROR,
    "no usage": content("a") + DONE,
    "usage beside content": content("a") + content("b", usage=USAGE) + DONE,
    "data in lines": b'data: {"choices":[],\ndata: "usage":' + orjson.dumps(USAGE) + b"}\n\n" + DONE,
    "cut": content("a") + USAGE_CHUNK[:-9],
    "no empty line at the end": content("a") + USAGE_CHUNK + b"data: [DONE]\r\n",
}


def test_a_stream_is_over_once_nothing_of_it_waits_to_be_relayed() -> None:
    stream = ChatStream(hide_usage=False)
    assert (stream.feed(content("a")), stream.is_over) == (content("a"), False)
    assert (stream.feed(DONE + b": more"), stream.is_over) == (DONE, False)
    assert (stream.feed(b"\n\n"), stream.is_over) == (b": more\n\n", True)


@pytest.mark.parametrize("hide_usage", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_any_byte_is_relayed_and_understood_alike(name: str, hide_usage: bool) -> None:
    data = STREAMS[name]
    whole = run([data], hide_usage=hide_usage)
    assert run([data[i : i + 1] for i in range(len(data))], hide_usage=hide_usage) == whole
    for position in range(1, len(data)):
        assert run([data[:position], data[position:]], hide_usage=hide_usage) == whole


@given(
    events=st.lists(
        st.sampled_from([content("a"), content(TRICKY), USAGE_CHUNK, ERROR, b": ping\n\n", b"data: {broken\n\n"]),
        max_size=8,
    ),
    is_crlf=st.booleans(),
    cuts=st.sets(st.integers(1, 2_000)),
    hide_usage=st.booleans(),
)
def test_any_split_of_any_stream_gives_the_same_bytes_usage_and_flags(
    events: list[bytes], is_crlf: bool, cuts: set[int], hide_usage: bool
) -> None:
    data = b"".join([*events, DONE])
    data = data.replace(b"\n", b"\r\n") if is_crlf else data
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]

    seen = run(pieces, hide_usage=hide_usage)

    hidden = USAGE_CHUNK.replace(b"\n", b"\r\n") if is_crlf else USAGE_CHUNK
    assert seen.relayed == (data.replace(hidden, b"") if hide_usage else data)
    assert seen.is_done
    assert seen.has_error == (ERROR in events)
    assert seen.usage == (USED if USAGE_CHUNK in events else None)
    assert seen == run([data], hide_usage=hide_usage)


def test_the_usage_chunk_is_hidden_and_what_it_says_is_known() -> None:
    seen = run([STREAMS["ordinary"]])
    assert USAGE_CHUNK not in seen.relayed
    assert (seen.usage, seen.model, seen.tier) == (USED, "gpt-4o", "flex")
    assert run([STREAMS["ordinary"]], hide_usage=False).relayed == STREAMS["ordinary"]


def test_what_a_model_writes_is_never_taken_for_usage_an_error_or_the_end() -> None:
    seen = run([content(TRICKY)])
    assert (seen.usage, seen.is_done, seen.has_error) == (None, False, False)
    assert seen.relayed == content(TRICKY)


@pytest.mark.parametrize(
    "chunk",
    [
        content("a", usage=USAGE),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
        event({"choices": [], "prompt_filter_results": [{"usage": {}, "error": {}}]}),
        event({"choices": [], "usage": None}),
    ],
)
def test_only_a_chunk_that_is_nothing_but_usage_is_hidden(chunk: bytes) -> None:
    assert run([chunk]).relayed == chunk
    assert not run([chunk]).has_error


def test_the_last_usage_that_can_be_true_counts() -> None:
    older = content("a", usage={"prompt_tokens": 7, "completion_tokens": 1})
    untrue = content("b", usage={"prompt_tokens": -1, "completion_tokens": 10**18})
    assert run([older, untrue]).usage == Usage(input_tokens=7, output_tokens=1)
    # Also when so much was relayed in between that it was counted.
    assert run([older, content("x" * 40_000), USAGE_CHUNK, content("y" * 40_000)]).usage == USED


def test_text_is_counted_by_the_event_whatever_its_kind_and_however_long_the_stream() -> None:
    tool_call = event(
        {
            "choices": [
                {"delta": {"tool_calls": [{"id": "call_1", "function": {"name": "find", "arguments": '{"a":1}'}}, 5]}},
                {"delta": {"refusal": "No.", "reasoning_content": "Hm"}},
            ]
        }
    )
    assert run([tool_call]).tokens == 1 + 2 + 1 + 1
    assert run([content("word") * 500]).tokens == 500
    assert run([content("x")] * 500).tokens == 500
    assert run([content("x" * 100_000)]).tokens == 25_000


@pytest.mark.parametrize("choices", [5, "text", None, {"0": {}}, [1, None, {"delta": 5}, {"delta": {"tool_calls": 5}}]])
def test_choices_of_any_shape_are_relayed_and_counted_as_nothing(choices: object) -> None:
    chunk = event({"choices": choices})
    seen = run([chunk])
    assert (seen.relayed, seen.tokens) == (chunk, 0)


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    stream = ChatStream(hide_usage=True)
    piece = b"data: " + b"x" * (ChatStream.EVENT_BYTES_MAX // 2)
    assert stream.feed(piece) == b""
    with pytest.raises(BrokenStream):
        stream.feed(piece)


def test_a_large_event_that_ends_is_relayed_whole() -> None:
    large = content("x" * (ChatStream.EVENT_BYTES_MAX - 1_000))
    assert run([large[:9_000_000], large[9_000_000:]]).relayed == large


def test_half_an_event_is_not_relayed_at_the_end() -> None:
    assert run([content("a"), content("b")[:-2]]).relayed == content("a")


def test_the_first_chunk_with_an_id_says_what_is_stored_and_the_last_one_what_was_used() -> None:
    named = event({"id": "chatcmpl-1", "choices": []})
    stream = StoredChatStream(hide_usage=True)
    data = b": ping\n\n" + named + content("a", id="chatcmpl-1") + USAGE_CHUNK + DONE

    relayed = stream.feed(data[:-40])
    assert stream.take_stored() == [StoredObject("chatcmpl-1", "chat.completion")]
    relayed += stream.feed(data[-40:])
    assert stream.take_stored() == []
    assert relayed == data.replace(USAGE_CHUNK, b"")
    assert (stream.usage, stream.is_done) == (USED, True)


def test_an_error_event_holds_the_envelope() -> None:
    assert ChatStream(hide_usage=True).error_event({}) == b'data: {"error":{}}\n\n'
