"""What the simulator will say to one chat request, decided before the first byte: its tokens, its usage, its reason.

Pure: the same request and script give the same completion. https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.simulator.chat_request import ChatRequest
from app.simulator.schema_example import example_of
from app.simulator.script import Script
from app.simulator.text import QUESTION_LENGTH_MAX, answer_tokens, fit_tokens, split_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The same answer for each of `choice_count` choices. Of a tool call, the function's name is one token more."""

    tool_name: str | None
    """The function that is called, None for text; `tokens` are then its arguments."""
    tokens: Sequence[str]
    finish_reason: str
    choice_count: int
    reasoning_tokens: int
    """Per choice; they count as output, come first, and are never shown."""
    prompt_tokens: int
    cached_tokens: int

    @property
    def visible_tokens(self) -> int:
        """How many tokens all choices show together."""
        return (len(self.tokens) + (self.tool_name is not None)) * self.choice_count

    @property
    def hidden_tokens(self) -> int:
        """How many reasoning tokens all choices have together."""
        return self.reasoning_tokens * self.choice_count

    def usage(self) -> dict[str, Any]:
        """Return the `usage` of the answer."""
        completion_tokens = self.visible_tokens + self.hidden_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.hidden_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def complete(request: ChatRequest, script: Script, model: str, request_headers: dict[str, str]) -> Completion:
    """Return what *model* says; *request_headers* are what `echo_headers` shows.

    A maximum cuts the reasoning first, then the text, and the reason becomes "length".
    """
    tool_name = request.tool["name"] if request.tool else None
    tokens = _tokens(request, script, model, request_headers)
    reason = "tool_calls" if tool_name else "stop"
    reasoning = script.reasoning_tokens
    if request.output_tokens_max is not None:
        reasoning = min(reasoning, request.output_tokens_max)
        # A call of a tool begins with the function's name: a maximum of 1 still shows that.
        room = max(0, request.output_tokens_max - reasoning - (tool_name is not None))
        if reasoning < script.reasoning_tokens or room < len(tokens):
            tokens, reason = tokens[:room], "length"
    return Completion(
        tool_name=tool_name,
        tokens=tokens,
        finish_reason=reason,
        choice_count=request.choice_count,
        reasoning_tokens=reasoning,
        prompt_tokens=request.prompt_tokens if script.prompt_tokens is None else script.prompt_tokens,
        cached_tokens=script.cached_tokens,
    )


def _tokens(request: ChatRequest, script: Script, model: str, request_headers: dict[str, str]) -> Sequence[str]:
    if request.tool:
        schema = request.tool.get("parameters") or {"type": "object"}
        return split_tokens(orjson.dumps(example_of(schema)).decode())
    if request.schema is not None:
        return split_tokens(orjson.dumps(example_of(request.schema)).decode())
    if script.echo_headers:
        return split_tokens(orjson.dumps(request_headers).decode())
    # Cut before it is the key of a cache: more of it would not be repeated anyway.
    tokens = answer_tokens(model, request.question[:QUESTION_LENGTH_MAX])
    return tokens if script.output_tokens is None else fit_tokens(tokens, script.output_tokens)
