"""Exact counts: the same tokens as tiktoken's own, from the vocabularies that come with Weir, never below the truth."""

import asyncio
import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import tiktoken
from structlog.testing import capture_logs

from app.gateway.operations.chat import ChatCompletions
from app.gateway.operations.operation import MeteredRequest
from app.gateway.token_count_service import _FOLDER, _VOCABULARIES, TokenCounts

CHAT = ChatCompletions()
PROSE = "The quick brown fox jumps over the lazy dog, 1234567 times; naïve cafés, 東京, 👩‍🚀 \r\n\t don't! " * 40
SOURCE = 'def f(x: int) -> str:\n    return f"{x!r}"  # <|endoftext|>\n' * 40


@pytest.fixture(scope="module")
def counts() -> TokenCounts:
    return TokenCounts()


def request(text: Any = "Hello.", model: str = "gpt-4o-mini", **members: Any) -> MeteredRequest:
    document = {"model": model, "messages": [{"role": "user", "content": text}], **members}
    return CHAT.read(orjson.dumps(document), {})


async def tokens(counts: TokenCounts, asked: MeteredRequest) -> int:
    bound = await counts.exact_bound(CHAT, asked, asked.model)
    assert bound is not None
    assert bound == asked.bound._replace(input_tokens=bound.input_tokens)
    return bound.input_tokens


@pytest.mark.parametrize("name", list(_VOCABULARIES))
def test_the_vocabularies_encode_as_tiktoken_itself_does(
    name: str, counts: TokenCounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where tiktoken looks before it fetches one.
    address = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    fetched = tmp_path / hashlib.sha1(address.encode()).hexdigest()
    fetched.write_bytes(gzip.decompress((_FOLDER / f"{name}.tiktoken.gz").read_bytes()))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    theirs, ours = tiktoken.get_encoding(name), counts._encoding(name)

    assert ours is not None
    for text in (PROSE, SOURCE, " " * 99, "", "\u017f \u212a \u0130", "\n\n  \n x"):
        assert ours.encode_ordinary(text) == theirs.encode_ordinary(text)


@pytest.mark.parametrize(("model", "name"), [("gpt-4o-mini", "o200k_base"), ("gpt-4-turbo", "cl100k_base")])
@pytest.mark.parametrize("text", [PROSE, SOURCE], ids=["prose", "source"])
async def test_a_text_is_counted_closely_and_never_too_low(
    counts: TokenCounts, model: str, name: str, text: str
) -> None:
    encoding = counts._encoding(name)
    assert encoding is not None
    truth = len(encoding.encode_ordinary(text)) + 7  # three for the message, one for its role, three for the answer

    counted = await tokens(counts, request(text, model))

    assert truth <= counted <= truth + 150
    assert counted < request(text, model).bound.input_tokens / 2


async def test_tools_and_schemas_are_counted_with_a_margin(counts: TokenCounts) -> None:
    function = {"name": "find", "description": "Finds. " * 200, "parameters": {"type": "object", "properties": {}}}
    asked = request(tools=[{"type": "function", "function": function}])
    encoding = counts._encoding("o200k_base")
    assert encoding is not None
    written = len(encoding.encode_ordinary(orjson.dumps(function).decode()))

    counted = await tokens(counts, asked)

    assert 2 * written < counted < 2 * written + 600


async def test_media_stay_as_they_were(counts: TokenCounts) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 5_000, "format": "mp3"}}

    assert 50_000 < await tokens(counts, request([image])) < 50_300
    # Silence is a few tokens as text, and seconds of audio.
    assert await tokens(counts, request([sound])) > 5_000


async def test_numbers_and_names_in_messages_are_counted_too(counts: TokenCounts) -> None:
    messages = [{"role": "tool", "content": "x", "weights": [0.125] * 50, "flag": True}]
    asked = CHAT.read(orjson.dumps({"model": "gpt-4o", "messages": messages}), {})

    assert await tokens(counts, asked) >= 50 * 5


async def test_one_endless_word_is_counted_piece_by_piece(counts: TokenCounts) -> None:
    async with asyncio.timeout(20):
        assert await tokens(counts, request("a" * 1_000_000)) >= 1_000_000 // 8


@pytest.mark.parametrize("model", ["sim-small", "claude-x", "text-davinci-003"])
async def test_a_model_whose_vocabulary_is_not_known_keeps_its_cheap_bound(counts: TokenCounts, model: str) -> None:
    assert await counts.exact_bound(CHAT, request(model=model), model) is None


async def test_open_weight_models_have_the_words_of_the_others(counts: TokenCounts) -> None:
    assert await tokens(counts, request(PROSE, "gpt-oss-20b")) < len(PROSE.encode()) / 2


async def test_a_huge_request_is_not_counted(counts: TokenCounts) -> None:
    assert await counts.exact_bound(CHAT, request("a" * 1_048_576), "gpt-4o-mini") is None


async def test_what_cannot_be_written_again_is_not_counted(counts: TokenCounts) -> None:
    nested = b"[" * 500 + b"]" * 500
    body = b'{"model":"gpt-4o","messages":[{"content":"x","deep":%b}],"tools":%b}' % (nested, nested)

    assert await counts.exact_bound(CHAT, CHAT.read(body, {}), "gpt-4o") is None


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "no gzip"])
async def test_a_damaged_vocabulary_is_said_once_and_not_used(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cl100k_base.tiktoken.gz"
    shutil.copy(_FOLDER / path.name, path)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        words = gzip.decompress(content)
        path.write_bytes({"cut": content[:-50], "changed": gzip.compress(words[:-1] + b"X", 1)}.get(damage, b"AA"))
    counts = TokenCounts(tmp_path)

    with capture_logs() as lines:
        assert await counts.exact_bound(CHAT, request(model="gpt-4"), "gpt-4") is None
        assert await counts.exact_bound(CHAT, request(model="gpt-4"), "gpt-4") is None

    assert [line["event"] for line in lines] == ["vocabulary_damaged"]


async def test_calls_at_once_read_a_vocabulary_once() -> None:
    counts = TokenCounts()
    async with asyncio.timeout(60):
        bounds = await asyncio.gather(*(counts.exact_bound(CHAT, request(model="gpt-4"), "gpt-4") for _ in range(4)))

    assert len(set(bounds)) == 1
    assert list(counts._encodings) == ["cl100k_base"]
