"""What a session of the realtime API is billed for: its responses, and the transcripts of what it hears.

They are begun and ended by events on a socket, not by requests, so nothing here reads a body.
https://platform.openai.com/docs/api-reference/realtime
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from app.gateway.operations.operation import MeteredRequest, Operation, Whole
from app.prices.usage import Usage

_NOTHING: Final = Usage()


@dataclass(frozen=True, slots=True)
class RealtimeRequest(MeteredRequest):
    """A response, or a transcript, that may begin."""

    expects: Usage = _NOTHING
    """About what it uses, counted by us: for one that ends without saying so."""


class RealtimeResponse(Operation):
    """One response of a model."""

    name = "realtime"
    path = "/realtime"

    def read(self, body: bytes, headers: Mapping[str, str]) -> NoReturn:
        """Raise NotImplementedError, as below: there is no body."""
        raise NotImplementedError(f"{self.name} is asked for by events")

    def answered(self, whole: Whole) -> NoReturn:
        """Raise NotImplementedError."""
        raise NotImplementedError(f"{self.name} is answered by events")

    def stream(self, request: MeteredRequest) -> NoReturn:
        """Raise NotImplementedError."""
        raise NotImplementedError(f"{self.name} is answered by events")

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return about what *request* uses."""
        return request.expects if isinstance(request, RealtimeRequest) else _NOTHING

    def renamed(self, request: MeteredRequest, model: str) -> bytes:  # noqa: ARG002
        """Return the body of *request*, which has no name in it: the address of the socket has."""
        return request.body

    def capped(self, body: bytes, output_tokens: int) -> bytes:  # noqa: ARG002
        """Return *body*: the maximum goes into an event."""
        return body


class RealtimeTranscription(RealtimeResponse):
    """The transcript of something that was said."""

    name = "realtime.transcription"
