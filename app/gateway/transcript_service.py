"""Meters what a realtime session has written down: the upstream does it by itself, with a model of its own."""

from typing import Final

from app.gateway.audio_usage import transcript_usage
from app.gateway.operations.realtime import RealtimeRequest, RealtimeTranscription
from app.gateway.realtime import Conversation, seconds_most
from app.gateway.realtime_events import Event
from app.gateway.socket_account_service import SocketAccount
from app.gateway.standing_service import Standing
from app.gateway.usage import text_tokens
from app.ledger.entries import Outcome
from app.prices.service import Bound
from app.prices.usage import Usage
from app.upstreams.routing import Target

_TRANSCRIPTION: Final = RealtimeTranscription()
_TOKENS_PER_SECOND_MAX: Final = 100
"""Ten times of what models take audio for."""
_TOKENS_PER_SECOND: Final = 10


class Transcripts:
    """The transcripts of one session; the next one is always paid for."""

    def __init__(self, account: SocketAccount, target: Target, conversation: Conversation) -> None:
        self._account = account
        self._target = target
        self._conversation = conversation
        self._standing = Standing(account, _TRANSCRIPTION)

    async def hold(self) -> None:
        """Hold what the next transcript can cost, if there may be one; raises what `Standing.ensure` raises."""
        characters = self._conversation.untranscribed_characters
        if self._conversation.transcription_model is not None and characters:
            await self._standing.ensure(self._own_target(), _bound(characters))

    def completed(self, event: Event) -> None:
        """Settle the transcript that *event* tells of."""
        seconds = self._conversation.transcribed(event.get("item_id"))
        attempt = self._standing.take()
        if attempt is None:
            target = self._own_target()
            request = RealtimeRequest(target.model, _bound(0), b"", streamed=True)
            attempt = self._account.unreserved(_TRANSCRIPTION, request, target)
        self._account.begin(attempt, event.get("item_id"))
        usage = transcript_usage(event.get("usage"))
        attempt.request = _expecting(attempt.request.model, attempt.request.bound, seconds)
        text = event.get("transcript")
        written = text_tokens(text.encode()) if isinstance(text, str) else 0
        self._account.settle(attempt, "no_usage" if usage is None else "completed", usage, written)

    def end(self, outcome: Outcome) -> None:
        """Settle what is being written down, or give back what is held."""
        seconds = self._conversation.committed_seconds()
        attempt = self._standing.take() if seconds else None
        if attempt is not None:
            attempt.request = _expecting(attempt.request.model, attempt.request.bound, seconds)
            self._account.begin(attempt)
            self._account.settle(attempt, outcome, None)
        self._standing.release()

    def _own_target(self) -> Target:
        return Target(self._target.upstream, self._conversation.transcription_model or self._target.model)


def _bound(characters: int) -> Bound:
    """Return the most that the transcript of so much audio can use."""
    seconds = seconds_most(characters)
    return Bound(_TOKENS_PER_SECOND_MAX * seconds, None, hears=True, units=Usage(audio_seconds=seconds))


def _expecting(model: str, bound: Bound, seconds: int) -> RealtimeRequest:
    """Return the request for the transcript of so much sound, which is billed by its tokens or by its length."""
    heard = _TOKENS_PER_SECOND * seconds
    expects = Usage(input_tokens=heard, input_audio_tokens=heard, audio_seconds=seconds)
    return RealtimeRequest(model, bound, b"", streamed=True, expects=expects)
