"""What the simulator answers in a realtime session: the events of one response, and its usage. Pure."""

from collections.abc import Iterator, Sequence

from app.simulator.fields import Document
from app.simulator.realtime_session import Session
from app.simulator.script import Script
from app.simulator.text import answer_tokens, fit_tokens


class RealtimeAnswer:
    """One response, decided before its first event."""

    def __init__(self, session: Session, script: Script, asked: Document) -> None:
        self._session = session
        self._script = script
        modalities = asked.get("output_modalities") or session.settings["output_modalities"]
        self._is_spoken = "audio" in modalities
        self._modalities = modalities
        text, audio = session.input_tokens(asked)
        self._input = (text, audio) if script.prompt_tokens is None else (script.prompt_tokens, 0)
        self._maximum = session.maximum(asked)
        tokens = answer_tokens(session.model, "hello")
        if script.output_tokens is not None:
            tokens = fit_tokens(tokens, script.output_tokens)
        room = len(tokens) if self._maximum is None else self._maximum // self.tokens_of_piece
        self.tokens: Sequence[str] = tokens[:room]
        self._is_cut = room < len(tokens)
        self._id = session.new_id("resp")
        self._item_id = session.new_id("item")
        self._said: list[str] = []
        self._metadata = asked.get("metadata")

    @property
    def input_tokens(self) -> int:
        """How many tokens it has for its input."""
        return sum(self._input)

    @property
    def tokens_of_piece(self) -> int:
        """How many tokens a word is: what is spoken is also written."""
        return 2 if self._is_spoken else 1

    def beginning(self) -> Iterator[Document]:
        """Yield what comes before the first word."""
        event = self._session.event
        yield event("response.created", response=self._response("in_progress", [], None))
        item = self._item("in_progress", [])
        yield event("response.output_item.added", response_id=self._id, output_index=0, item=item)
        yield event("conversation.item.added", previous_item_id=None, item=item)
        yield event("response.content_part.added", **self._place, part=self._part(is_delta=True))

    def piece(self, token: str, sound: str) -> Iterator[Document]:
        """Yield the events of one word."""
        self._said.append(token)
        event = self._session.event
        if self._is_spoken:
            yield event("response.output_audio_transcript.delta", **self._place, delta=token)
            yield event("response.output_audio.delta", **self._place, delta=sound)
        else:
            yield event("response.output_text.delta", **self._place, delta=token)

    def ending(self, output_tokens: int, *, is_cancelled: bool) -> Iterator[Document]:
        """Yield what comes after the last word, with the usage."""
        session, event = self._session, self._session.event
        text = "".join(self._said)
        if self._is_spoken:
            yield event("response.output_audio.done", **self._place)
            yield event("response.output_audio_transcript.done", **self._place, transcript=text)
        else:
            yield event("response.output_text.done", **self._place, text=text)
        part = self._part(is_delta=False)
        yield event("response.content_part.done", **self._place, part=part)
        status = "cancelled" if is_cancelled else "incomplete" if self._is_cut else "completed"
        item = self._item("completed" if status == "completed" else "incomplete", [part])
        yield event("response.output_item.done", response_id=self._id, output_index=0, item=item)
        yield event("conversation.item.done", previous_item_id=None, item=item)
        usage = None if self._script.no_usage else self._usage(output_tokens)
        yield event("response.done", response=self._response(status, [item], usage))
        session.text_tokens += len(self._said)
        session.audio_tokens += len(self._said) if self._is_spoken else 0

    def failed(self, output_tokens: int, error: Document) -> Document:
        """Return the end of a response that failed in its middle."""
        usage = None if self._script.no_usage else self._usage(output_tokens)
        response = self._response("failed", [], usage)
        response["status_details"] = {"type": "failed", "error": {"type": error["type"], "code": error["code"]}}
        return self._session.event("response.done", response=response)

    @property
    def _place(self) -> Document:
        return {"response_id": self._id, "item_id": self._item_id, "output_index": 0, "content_index": 0}

    def _part(self, *, is_delta: bool) -> Document:
        text = "" if is_delta else "".join(self._said)
        return {"type": "audio", "transcript": text} if self._is_spoken else {"type": "text", "text": text}

    def _item(self, status: str, parts: list[Document]) -> Document:
        content = [{**part, "type": f"output_{part['type']}"} for part in parts]
        own = {"id": self._item_id, "object": "realtime.item", "type": "message", "status": status}
        return {**own, "role": "assistant", "content": content}

    def _response(self, status: str, output: list[Document], usage: Document | None) -> Document:
        details = None
        if status == "incomplete":
            details = {"type": "incomplete", "reason": "max_output_tokens"}
        elif status == "cancelled":
            details = {"type": "cancelled", "reason": "client_cancelled"}
        return {
            "object": "realtime.response",
            "id": self._id,
            "status": status,
            "status_details": details,
            "output": output,
            "conversation_id": f"conv_{self._session.key}",
            "output_modalities": self._modalities,
            "max_output_tokens": "inf" if self._maximum is None else self._maximum,
            "audio": {"output": self._session.settings["audio"]["output"]},
            "usage": usage,
            "metadata": self._metadata,
        }

    def _usage(self, output_tokens: int) -> Document:
        text, audio = self._input
        cached = self._script.cached_tokens
        spoken = output_tokens // 2 if self._is_spoken else 0
        return {
            "total_tokens": text + audio + output_tokens,
            "input_tokens": text + audio,
            "output_tokens": output_tokens,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": audio,
                "image_tokens": 0,
                "cached_tokens": cached,
                "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": output_tokens - spoken, "audio_tokens": spoken},
        }
