"""POST /v1/chat/completions, plain: a completion as one JSON object with every key that strict clients need.

https://platform.openai.com/docs/api-reference/chat/object
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.simulator.completion import Completion

_FINGERPRINT: Final = "fp_simulator"


@dataclass(frozen=True, slots=True)
class Title:
    """What every object of one answer repeats; `created` is in seconds since 1970."""

    id: str
    model: str
    created: int

    def members(self, kind: str) -> dict[str, Any]:
        """Return the members that an object of *kind*, such as `chat.completion`, begins with."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }

    def tool_call_id(self, index: int) -> str:
        """Return the id of the tool call in choice *index*."""
        return f"call_{self.id.removeprefix('chatcmpl-')}{index}"


def completion_body(completion: Completion, title: Title, *, with_usage: bool = True) -> bytes:
    """Return the `chat.completion` object as JSON."""
    text = "".join(completion.tokens)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choices = []
    for index in range(completion.choice_count):
        if completion.tool_name is not None:
            function = {"name": completion.tool_name, "arguments": text}
            tool_call = {"id": title.tool_call_id(index), "type": "function", "function": function}
            message = {**message, "content": None, "tool_calls": [tool_call]}
        choices.append(
            {"index": index, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}
        )
    answer = {**title.members("chat.completion"), "choices": choices}
    if with_usage:
        answer["usage"] = completion.usage()
    return orjson.dumps(answer)
