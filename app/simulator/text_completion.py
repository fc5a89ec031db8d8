"""POST /v1/completions, plain and streamed: the endpoint before chat, with the answers that chat gives.

https://platform.openai.com/docs/api-reference/completions
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.core.clock import utc_now
from app.simulator.call import Ending
from app.simulator.chat import Title
from app.simulator.chat_stream import ChunkFrames, send_stream
from app.simulator.completion import Completion
from app.simulator.delivery import EVENT_STREAM, Delivery
from app.simulator.fields import Document, find_number, find_object, read_flag
from app.simulator.refusal import invalid_type, invalid_value
from app.simulator.script import Script
from app.simulator.text import QUESTION_LENGTH_MAX, answer_tokens, count_tokens, fit_tokens

_MAXIMUM: Final = 10_000_000
_MAXIMUM_DEFAULT: Final = 16
_EXPECTED: Final = "a string, an array of strings, an array of integers or an array of arrays of integers"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A request that may be answered."""

    prompts: list[str]
    """Token ids written as numbers."""
    prompt_tokens: int
    choices: int
    """Of each prompt."""
    candidates: int
    """Of each prompt, of which the best are the choices."""
    maximum: int
    echo: bool
    stream: bool
    include_usage: bool


async def answer_completion(delivery: Delivery, document: Document, model: str) -> Ending:
    """Answer one request."""
    call, script = delivery.exchange.call, delivery.script
    request = read_text_request(document)
    completion = _complete(request, script, model)
    call.stream = request.stream
    if script.generates:
        call.prompt_tokens = completion.prompt_tokens
    await delivery.wait_for_turn()
    title = Title(f"cmpl-{call.id.removeprefix('req_')}", model, int(utc_now().timestamp()))
    with_usage = not script.no_usage
    if request.stream:
        frames = TextFrames(completion, title, request, include_usage=request.include_usage and with_usage)
        await delivery.start(200, EVENT_STREAM)
        return await send_stream(delivery.exchange, completion, script, frames)
    unseen = (request.candidates - request.choices) * len(request.prompts) * len(completion.tokens)
    call.completion_tokens = completion.visible_tokens + unseen
    text = "".join(completion.tokens)
    choices = [
        _choice(index, (prompt if request.echo else "") + text, completion.finish_reason)
        for index, prompt in enumerate(prompt for prompt in request.prompts for _ in range(request.choices))
    ]
    answer = {**_members(title), "choices": choices}
    if with_usage:
        answer["usage"] = _usage(completion.prompt_tokens, call.completion_tokens)
    return await delivery.send_json(orjson.dumps(answer), completion_tokens=completion.visible_tokens)


def read_text_request(document: Document) -> TextRequest:
    """Return the request in *document*; raises Refusal (400)."""
    prompts, tokens = _read_prompts(document.get("prompt"))
    choices = find_number(document, "n", 1, 128) or 1
    candidates = find_number(document, "best_of", 0, 20) or choices
    stream = read_flag(document, "stream")
    if candidates < choices:
        raise invalid_value("best_of", "You requested that the server return more choices than it will generate.")
    if stream and candidates > choices:
        raise invalid_value("best_of", "Cannot stream results with best_of.")
    maximum = find_number(document, "max_tokens", 0, _MAXIMUM)
    suffix = document.get("suffix") or ""
    options = find_object(document, "stream_options") or {}
    return TextRequest(
        prompts=prompts,
        prompt_tokens=tokens + count_tokens(suffix) * len(prompts),
        choices=choices,
        candidates=candidates,
        maximum=_MAXIMUM_DEFAULT if maximum is None else maximum,
        echo=read_flag(document, "echo"),
        stream=stream,
        include_usage=read_flag(options, "include_usage", within="stream_options."),
    )


class TextFrames(ChunkFrames):
    """Writes the events of one stream."""

    def __init__(self, completion: Completion, title: Title, request: TextRequest, *, include_usage: bool) -> None:
        super().__init__(completion, title, include_usage=include_usage)
        self._head = b"data: " + orjson.dumps(_members(title))[:-1] + b',"choices":['
        self._request = request

    def roles(self) -> Iterator[bytes]:
        """Yield nothing."""
        return iter(())

    def contents(self) -> Iterator[bytes]:
        """Yield one chunk per token, the choices taking turns; the first of each also has what is echoed."""
        prompts = [prompt for prompt in self._request.prompts for _ in range(self._request.choices)]
        for count, token in enumerate(self._completion.tokens):
            for index, prompt in enumerate(prompts):
                echoed = prompt if self._request.echo and not count else ""
                yield self._text(index, echoed + token, None)

    def endings(self) -> Iterator[bytes]:
        """Yield the last chunk of each choice, then the one that holds the usage, if asked for."""
        for index in range(self._completion.choice_count):
            yield self._text(index, "", self._completion.finish_reason)
        if self.include_usage:
            usage = _usage(self._completion.prompt_tokens, self._completion.visible_tokens)
            yield self._head + b'],"usage":' + orjson.dumps(usage) + b"}\n\n"

    def _text(self, index: int, text: str, finish_reason: str | None) -> bytes:
        return self._head + orjson.dumps(_choice(index, text, finish_reason)) + self._tail


def _complete(request: TextRequest, script: Script, model: str) -> Completion:
    tokens = answer_tokens(model, request.prompts[0][:QUESTION_LENGTH_MAX])
    if script.output_tokens is not None:
        tokens = fit_tokens(tokens, script.output_tokens)
    return Completion(
        tool_name=None,
        tokens=tokens[: request.maximum],
        finish_reason="length" if len(tokens) > request.maximum else "stop",
        choice_count=request.choices * len(request.prompts),
        reasoning_tokens=0,
        prompt_tokens=request.prompt_tokens if script.prompt_tokens is None else script.prompt_tokens,
        cached_tokens=0,
    )


def _members(title: Title) -> dict[str, Any]:
    return {"id": title.id, "object": "text_completion", "created": title.created, "model": title.model}


def _choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return the usage; like OpenAI's, it does not speak of a completion that has no tokens."""
    generated = {"completion_tokens": completion_tokens} if completion_tokens else {}
    return {"prompt_tokens": prompt_tokens, **generated, "total_tokens": prompt_tokens + completion_tokens}


def _read_prompts(value: Any) -> tuple[list[str], int]:
    """Return the prompts as text, and how many tokens they are."""
    if value is None or isinstance(value, str):
        return [value or ""], count_tokens(value or "")
    items = value if isinstance(value, list) else [value]
    if items and all(type(item) is int for item in items):
        items = [items]
    if not items:
        raise invalid_type("prompt", _EXPECTED, value)
    tokens = 0
    for item in items:
        is_array = isinstance(item, list) and all(type(token) is int for token in item)
        if not isinstance(item, str) and not is_array:
            raise invalid_type("prompt", _EXPECTED, item)
        tokens += len(item) if is_array else count_tokens(item)
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in items], tokens
