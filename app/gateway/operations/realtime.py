"""What a session of the realtime API is billed for: its responses, and the transcripts of what it hears.

They are begun and ended by events on a socket, not by requests, so nothing here reads a body.
https://platform.openai.com/docs/api-reference/realtime
"""

from dataclasses import dataclass

from app.gateway.operations.operation import Charged, MeteredRequest
from app.prices.usage import NO_USAGE, Usage


@dataclass(slots=True)
class RealtimeRequest(MeteredRequest):
    """A response, or a transcript, that may begin."""

    expects: Usage = NO_USAGE
    """About what it uses, counted by us: for one that ends without saying so."""


class RealtimeResponse(Charged):
    """One response of a model. Its maximum goes into an event, so `capped` has nothing to do."""

    name = "realtime"

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return about what *request* uses."""
        return request.expects if isinstance(request, RealtimeRequest) else NO_USAGE

    def renamed(self, request: MeteredRequest, model: str) -> bytes:  # noqa: ARG002
        """Return the body of *request*, which has no name in it: the address of the socket has."""
        return request.body


class RealtimeTranscription(RealtimeResponse):
    """The transcript of something that was said."""

    name = "realtime.transcription"
