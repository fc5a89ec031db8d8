"""Which calls may be answered from the cache, and which answers are kept."""

from typing import Any

import orjson
import pytest

from app.answers.policy import CachePolicy
from app.cache_settings import Cache
from app.errors import InvalidRequest
from app.gateway.answer import Answer, Inbound, lasting
from app.gateway.caching import Wish, is_keepable, is_repeatable, kept_headers, read_wish
from app.gateway.operations.chat import ChatCompletions
from app.gateway.operations.completions import Completions
from app.gateway.operations.embeddings import Embeddings
from app.gateway.operations.moderations import Moderations
from app.gateway.operations.operation import Operation
from app.gateway.operations.responses import Responses

SETTINGS = Cache(ttl_seconds=300, ttl_seconds_max=1_000)
NOTHING, ON, OFF = CachePolicy(), CachePolicy(True, 600), CachePolicy(False, 600)
MESSAGES = [{"role": "user", "content": "Hi"}]
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"url": {"type": "string"}}}}}


def wish(policy: CachePolicy, cache: str | None = None, *controls: str) -> Wish | None:
    headers = [] if cache is None else [(b"x-weir-cache", cache.encode())]
    headers += [(b"cache-control", control.encode()) for control in controls]
    return read_wish(Inbound(headers), policy, SETTINGS)


@pytest.mark.parametrize(
    ("policy", "cache", "ttl_seconds"),
    [
        (NOTHING, None, None),
        (NOTHING, "on", 300),
        (NOTHING, "ttl=7", 7),
        (NOTHING, " TTL=7 ", 7),
        (NOTHING, "ttl=999999999", 1_000),
        (NOTHING, "off", None),
        (ON, None, 600),
        (ON, "on", 600),
        (ON, "ttl=7", 7),
        (ON, "off", None),
        (CachePolicy(True), None, 300),
        (CachePolicy(True, 5_000), None, 1_000),
        (OFF, None, None),
        (OFF, "on", None),
        (OFF, "ttl=7", None),
    ],
)
def test_a_call_says_more_than_its_project_unless_that_says_never(
    policy: CachePolicy, cache: str | None, ttl_seconds: int | None
) -> None:
    assert wish(policy, cache) == (None if ttl_seconds is None else Wish(ttl_seconds, ttl_seconds))


@pytest.mark.parametrize(
    ("controls", "age_seconds_max", "keeps"),
    [
        (["max-age=10"], 10, True),
        (["MAX-AGE = 10, max-age=20"], 20, True),
        (['max-age="30"'], 30, True),
        (["max-age=10, min-fresh=5", "max-age=4"], 4, True),
        (["max-age=99999"], 600, True),
        (["no-cache"], 0, True),
        (["No-Cache", "max-age=20"], 0, True),
        (["no-store"], 0, False),
        (["no-store, no-cache"], 0, False),
        (["no-cache, no-store"], 0, False),
        (["max-age=-1, max-age=x, only-if-cached, no-transform,, "], 600, True),
    ],
)
def test_cache_control_makes_less_of_it(controls: list[str], age_seconds_max: int, keeps: bool) -> None:
    assert wish(ON, None, *controls) == Wish(600, age_seconds_max, keeps)
    assert wish(NOTHING, None, *controls) is None


@pytest.mark.parametrize("cache", ["", "yes", "ttl", "ttl=0", "ttl=07", "ttl=1s", "ttl=٣", "on,off", "ttl=1234567890"])
@pytest.mark.parametrize("policy", [NOTHING, ON, OFF])
def test_other_words_are_refused(policy: CachePolicy, cache: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wish(policy, cache)
    assert refused.value.param == "x-weir-cache"


def test_a_word_said_twice_is_refused() -> None:
    headers = [(b"x-weir-cache", b"on"), (b"x-weir-cache", b"on")]
    with pytest.raises(InvalidRequest):
        read_wish(Inbound(headers), NOTHING, SETTINGS)


def is_kept(operation: Operation, document: dict[str, Any]) -> bool:
    return is_repeatable(operation, operation.read(orjson.dumps({"model": "m", **document}), {}))


def chat(*parts: dict[str, Any], **more: Any) -> bool:
    messages = [{"role": "user", "content": list(parts)}] if parts else MESSAGES
    return is_kept(ChatCompletions(), {"messages": messages, "temperature": 0, **more})


def response(**more: Any) -> bool:
    return is_kept(Responses(), {"input": "Hi", "store": False, "temperature": 0, **more})


def test_what_is_the_same_each_time_is_kept() -> None:
    assert is_kept(Embeddings(), {"input": "Hi"})
    assert chat()
    assert chat(temperature=0.0)
    assert chat(temperature=-0.0, tools=[FUNCTION])
    assert chat(temperature=1, seed=0)
    assert chat(temperature=None, seed=-5, store=False)
    assert chat({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})
    assert is_kept(Completions(), {"prompt": "Hi", "seed": 1})
    assert response()
    assert response(tools=[{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "c"}])


def test_what_is_drawn_by_chance_is_not_kept() -> None:
    assert not chat(temperature=0.01)
    assert not chat(temperature=None)
    assert not chat(temperature="0")
    assert not chat(temperature=False)
    assert not chat(temperature=1, seed=True)
    assert not chat(temperature=1, seed="5")
    assert not response(temperature=1)
    assert not is_kept(Completions(), {"prompt": "Hi"})
    assert not is_kept(Moderations(), {"input": "Hi"})


def test_what_is_stored_streamed_or_done_by_the_upstream_is_not_kept() -> None:
    assert not chat(stream=True)
    assert not chat(store=True)
    assert not chat(web_search_options={})
    assert not chat(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
    assert not chat(tools=[FUNCTION, {"type": "web_search"}])
    assert not response(store=True)
    assert not response(store=None)
    assert not response(background=True)
    assert not response(prompt={"id": "pmpt_1"})
    assert not response(tools=[{"type": "file_search", "vector_store_ids": []}])


def test_what_is_read_from_elsewhere_is_not_kept() -> None:
    assert not chat({"type": "image_url", "image_url": {"url": "https://example.com/now.png"}})
    assert not chat({"type": "file", "file": {"file_id": "file-1"}})
    assert not response(previous_response_id="resp_1")
    assert not response(conversation="conv_1")
    for part in (
        {"type": "input_image", "image_url": "https://a/b"},
        {"type": "input_file", "file_url": "https://a/b"},
    ):
        assert not response(input=[{"role": "user", "content": [part]}])


def test_only_an_answer_that_anybody_would_have_got_is_kept() -> None:
    async def pieces() -> Any:
        yield b"{}"

    assert is_keepable(Answer(200, [], b"{}"), "completed")
    assert not is_keepable(Answer(200, [], b"{}"), "no_usage")
    assert not is_keepable(Answer(201, [], b"{}"), "completed")
    assert not is_keepable(Answer(200, [], pieces()), "completed")
    assert is_keepable(Answer(200, [], b'{"status":"completed","error":null}'), "completed")
    assert not is_keepable(Answer(200, [], b'{"status":"failed","error":{"code":"server_error"}}'), "completed")
    for name in (b"x-weir-max-output-tokens", b"x-weir-model"):  # a budget cut it short; another model gave it
        assert not is_keepable(Answer(200, [(name, b"1")], b"{}"), "completed")


def test_what_tells_of_one_call_is_not_kept() -> None:
    of_one_call = [(b"x-ratelimit-limit-requests", b"1"), (b"server-timing", b"a;dur=1"), (b"x-weir-cost-usd", b"1")]
    of_the_answer = [(b"content-type", b"application/json"), (b"openai-version", b"2020-10-01")]
    assert lasting([*of_one_call, *of_the_answer]) == of_the_answer
    [*rest, (name, tag)] = kept_headers(Answer(200, [*of_one_call, *of_the_answer], b"{}"), b"{}")
    assert (rest, name, len(tag)) == (of_the_answer, b"etag", 34)
    assert kept_headers(Answer(200, [], b"{ }"), b"{ }") != kept_headers(Answer(200, [], b"{}"), b"{}")
    assert kept_headers(Answer(200, [(b"etag", b'"own"')], b"{}"), b"{}") == [(b"etag", b'"own"')]
