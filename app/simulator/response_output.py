"""A response as one object: its output items, its usage, and every key that strict clients need. Pure.

https://platform.openai.com/docs/api-reference/responses/object
"""

from dataclasses import dataclass
from typing import Any, Final

from app.simulator.completion import Completion
from app.simulator.fields import Document
from app.simulator.response_request import HOSTED, ResponseRequest

_PREFIXES: Final = {
    "web_search_call": "ws_",
    "file_search_call": "fs_",
    "code_interpreter_call": "ci_",
    "image_generation_call": "ig_",
    "mcp_call": "mcp_",
}
_ECHOED: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, with what it says where the request says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What will be said, decided before the first byte."""

    request: ResponseRequest
    completion: Completion
    model: str
    key: str
    """What the ids of all its parts have in common."""
    created_at: int
    with_usage: bool

    @property
    def id(self) -> str:
        """The id of the response."""
        return f"resp_{self.key}"

    def response(self, status: str, output: list[Document]) -> Document:
        """Return the response at *status*, with *output* so far; the usage is known when it is over."""
        is_over = status not in ("queued", "in_progress")
        conversation = self.request.document.get("conversation")
        echoed = {name: self.request.document.get(name, default) for name, default in _ECHOED.items()}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "completed_at": self.created_at if status == "completed" else None,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self.model,
            "output": output,
            "service_tier": "default",
            "usage": self.usage() if is_over and self.with_usage else None,
            **({} if conversation is None else {"conversation": _as_object(conversation)}),
            **echoed,
        }

    def final(self) -> Document:
        """Return the whole response."""
        return self.response(self.final_status, self.items())

    @property
    def final_status(self) -> str:
        """How it ends: incomplete when a maximum cut it."""
        return "incomplete" if self.completion.finish_reason == "length" else "completed"

    def usage(self) -> Document:
        """Return what it used."""
        completion = self.completion
        written = completion.visible_tokens + completion.hidden_tokens
        read = self.input_tokens
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": completion.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": completion.hidden_tokens},
            "total_tokens": read + written,
        }

    @property
    def input_tokens(self) -> int:
        """Read in all turns, as reported."""
        return self.completion.prompt_tokens * (1 + len(self.request.calls))

    def items(self) -> list[Document]:
        """Return the items of the output in order: reasoning, calls of tools, and then the answer or a function."""
        return [*self.items_before(), self.answer("".join(self.completion.tokens))]

    def items_before(self) -> list[Document]:
        """Return those that come before the answer."""
        items = []
        if self.completion.reasoning_tokens:
            items.append({"id": f"rs_{self.key}", "type": "reasoning", "summary": [], "status": "completed"})
        for index, tool in enumerate(self.request.calls):
            kind = HOSTED[tool["type"]]
            item = {"id": f"{_PREFIXES[kind]}{self.key}{index}", "type": kind, "status": "completed"}
            items.append({**item, **self._work(kind, tool)})
        return items

    def answer(self, text: str, *, is_done: bool = True) -> Document:
        """Return the last item with *text* in it: a message, or the call of a function."""
        status = ("incomplete" if self.final_status == "incomplete" else "completed") if is_done else "in_progress"
        if self.completion.tool_name is not None:
            called = {"name": self.completion.tool_name, "call_id": f"call_{self.key}", "arguments": text}
            return {"id": f"fc_{self.key}", "type": "function_call", "status": status, **called}
        content = [self.part(text)] if is_done else []
        return {"id": f"msg_{self.key}", "type": "message", "status": status, "role": "assistant", "content": content}

    def part(self, text: str) -> Document:
        """Return the content of the message with *text* in it."""
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _work(self, kind: str, tool: Document) -> Document:
        if kind == "web_search_call":
            return {"action": {"type": "search", "query": self.request.chat.question[:100], "sources": None}}
        if kind == "file_search_call":
            return {"queries": [self.request.chat.question[:100]], "results": None}
        if kind == "code_interpreter_call":
            container = tool.get("container")
            name = container if isinstance(container, str) else f"cntr_{self.key}"
            return {"container_id": name, "code": "print(1)", "outputs": None}
        if kind == "image_generation_call":
            return {"result": "iVBORw0KGgo="}
        return {
            "server_label": tool.get("server_label"),
            "name": "look",
            "arguments": "{}",
            "output": "",
            "error": None,
        }


def _as_object(conversation: Any) -> Document:
    return conversation if isinstance(conversation, dict) else {"id": conversation}
