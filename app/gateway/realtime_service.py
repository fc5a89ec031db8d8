"""Meters a realtime session: every response has a reservation before it can begin, and an entry after it.

The rule is in docs/realtime.md: what the caller asks for is reserved when it asks; what the upstream may begin by
itself is covered by a standing reservation, without which nothing more is sent there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.core.ids import new_id
from app.errors import Refusal, UpstreamAnsweredNonsense, WeirError
from app.gateway.attempt import Attempt
from app.gateway.body import read_model
from app.gateway.operations.realtime import RealtimeRequest, RealtimeResponse
from app.gateway.realtime import Conversation
from app.gateway.realtime_events import (
    Event,
    clamped,
    maximum_of,
    member,
    pieces_of,
    refuse_variants,
    session_update,
    wished_transcription,
    with_maximum,
)
from app.gateway.realtime_usage import realtime_usage
from app.gateway.references import session_references
from app.gateway.relay import bounded_text
from app.gateway.socket import BROKEN, MustClose, Relayed, event_of, read_event
from app.gateway.socket_account_service import SocketAccount
from app.gateway.standing_service import Standing
from app.gateway.transcript_service import Transcripts
from app.gateway.usage import spoken_tokens, text_tokens
from app.ledger.entries import Outcome
from app.limits.amounts import Amounts, Demand
from app.prices.usage import Usage
from app.upstreams.routing import Target

_RESPONSE: Final = RealtimeResponse()
_MAXIMUM_MAX: Final = 4_096
"""The highest maximum that the API takes, apart from none."""
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"


@dataclass(slots=True)
class _Asked:
    """A response that the caller asked for, and that has not begun."""

    event_id: str
    attempt: Attempt


@dataclass(slots=True)
class _Begun:
    """A response that is under way, and what of it was relayed."""

    attempt: Attempt
    text_bytes: int = 0
    audio_characters: int = 0

    @property
    def output(self) -> Usage:
        """About what was relayed of it."""
        spoken = spoken_tokens(self.audio_characters)
        text = text_tokens(b"0" * self.text_bytes)
        return Usage(output_tokens=text + spoken, output_audio_tokens=spoken)


class RealtimeMeter:
    """The `Meter` of one session."""

    def __init__(self, account: SocketAccount, target: Target, *, is_beta: bool) -> None:
        self._account = account
        self._target = target
        self._conversation = Conversation(is_beta=is_beta)
        self._standing = Standing(account, _RESPONSE)
        self._transcripts = Transcripts(account, target, self._conversation)
        self._asked: list[_Asked] = []
        self._begun: dict[object, _Begun] = {}
        self._cap: int | None = None
        """The maximum that a budget gave to whatever begins by itself."""
        self._cap_event_id = ""
        self._unseen_updates = 0
        """How many times the upstream will agree to settings that Weir has sent: the caller did not ask for them."""
        self._holding = asyncio.Lock()

    async def from_client(self, message: str | bytes) -> Sequence[str]:
        """Return what goes upstream for an event of the caller."""
        event = read_event(message)
        refuse_variants(event)
        text = str(message)
        size = len(text.encode())
        if (model := wished_transcription(event)) is not None:
            await self._account.plan(read_model({"model": model}))
        if references := session_references(event):
            await self._account.plan(self._target.model, references)
        self._conversation.sent(event, size)
        updates = await self._hold()
        if event.get("type") == "response.create":
            return [*updates, await self._create(event, text)]
        changed = event if self._cap is None else clamped(event, self._cap)
        return [*updates, text if changed == event else orjson.dumps(changed).decode()]

    async def from_upstream(self, message: str | bytes) -> Relayed:
        """Return what an event of the upstream leads to."""
        try:
            event = event_of(message)
        except Refusal:  # nothing can be learned of it, and nobody is hurt
            return Relayed([message])
        self._conversation.told(event, message)
        kind = event.get("type")
        if kind == "error":
            return self._failed(message, member(event, "error"))
        if kind == "session.updated" and self._unseen_updates:
            self._unseen_updates -= 1
            return Relayed()
        if kind == "response.created":
            return await self._begin(message, member(event, "response"))
        if kind == "response.done":
            self._done(member(event, "response"))
        elif kind == _TRANSCRIBED:
            self._transcripts.completed(event)
        else:
            self._count(event)
        return Relayed([message])

    async def prepare(self) -> Sequence[str]:
        """Hold what may begin by itself now, and return what bounds it; raises MustClose."""
        return await self._hold()

    def error_event(self, error: WeirError, cause: str | bytes = "") -> str:
        """Return the event that tells the caller of an *error*."""
        try:
            event_id = event_of(cause).get("event_id")
        except Refusal:
            event_id = None
        details = {**error.envelope()["error"], "event_id": event_id}
        return orjson.dumps({"type": "error", "event_id": new_id("event"), "error": details}).decode()

    def is_idle(self) -> bool:
        """Tell whether no response is asked for or under way."""
        return not self._asked and not self._begun

    def end(self, outcome: Outcome) -> None:
        """Settle whatever is under way; what only may have begun is given back."""
        for begun in self._begun.values():
            self._settle(begun, outcome, None)
        for asked in self._asked:
            self._settle(_Begun(asked.attempt), outcome, None)
        self._begun, self._asked = {}, []
        self._standing.release()
        self._transcripts.end(outcome)

    async def _hold(self) -> list[str]:
        """Hold what may begin by itself from now on; return the events that give it a maximum.

        Raises MustClose where that cannot be had.
        """
        conversation, updates = self._conversation, []
        async with self._holding:
            try:
                if conversation.may_start:
                    held = await self._standing.ensure(self._target, conversation.bound(self._cap))
                    if held.output_tokens_cap is not None and self._cap is None:
                        updates.append(self._set_cap(held.output_tokens_cap))
                await self._transcripts.hold()
            except WeirError as error:
                raise MustClose(error) from error
        return updates

    def _set_cap(self, output_tokens: int) -> str:
        self._cap = min(output_tokens, _MAXIMUM_MAX)
        self._cap_event_id = new_id("event")
        self._unseen_updates += 1
        named = self._conversation.maximum
        least = self._cap if named is None else min(named, self._cap)
        update = session_update(least, self._cap_event_id, is_beta=self._conversation.is_beta)
        return orjson.dumps(update).decode()

    async def _create(self, event: dict[str, Any], text: str) -> str:
        """Reserve the response that *event* asks for; return the event that goes upstream."""
        conversation = self._conversation
        named = maximum_of(event) or conversation.maximum
        output_tokens = named if self._cap is None else self._cap  # what begins by itself may take its reservation
        request = RealtimeRequest(
            self._target.model,
            conversation.bound(output_tokens, event),
            b"",
            streamed=True,
            is_capped=output_tokens is not None,
        )
        known = Amounts(requests=0, input_tokens=conversation.tokens_about, output_tokens=named or 0)
        lease = await self._account.count(self._target.model, Demand(known, 0 if named else 1))
        try:
            attempt = await self._account.reserve(_RESPONSE, request, self._target)
        except BaseException:
            self._account.release(lease)
            raise
        attempt.lease = lease
        self._account.begin(attempt)
        event_id = event.get("event_id")
        changed = event if isinstance(event_id, str) and event_id else {**event, "event_id": new_id("event")}
        cap = self._cap or attempt.output_tokens_cap
        if cap is not None:
            cap = min(cap, _MAXIMUM_MAX)
        elif named is not None and conversation.maximum_is_wish:
            cap = named
        if cap is not None:
            changed = with_maximum(changed, min(cap, named or cap))
        self._asked.append(_Asked(changed["event_id"], attempt))
        return text if changed is event else orjson.dumps(changed).decode()

    async def _begin(self, message: str | bytes, response: Event) -> Relayed:
        """Give the response that has begun the reservation that was made for it, and hold the next one."""
        up: list[str] = []
        down = [message]
        if self._asked:
            attempt = self._asked.pop(0).attempt
            attempt.upstream_request_id = bounded_text(response.get("id"))
        else:
            attempt = self._standing.take() or self._unexpected()
            self._account.begin(attempt, response.get("id"))
            try:
                attempt.lease = await self._count_unasked()
            except WeirError as error:  # it cannot be refused any more, but stopped
                up.append(orjson.dumps({"type": "response.cancel", "response_id": response.get("id")}).decode())
                down.append(self.error_event(error))
        self._begun[response.get("id")] = _Begun(attempt)
        return Relayed(down, up)

    async def _count_unasked(self) -> Any:
        known = Amounts(requests=0, input_tokens=self._conversation.tokens_about)
        return await self._account.count(self._target.model, Demand(known, 1))

    def _unexpected(self) -> Attempt:
        bound = self._conversation.bound(self._cap)
        request = RealtimeRequest(self._target.model, bound, b"", streamed=True)
        return self._account.unreserved(_RESPONSE, request, self._target)

    def _count(self, event: Event) -> None:
        text_bytes, audio_characters = pieces_of(event)
        begun = self._begun.get(event.get("response_id")) if text_bytes or audio_characters else None
        if begun is not None:
            begun.text_bytes += text_bytes
            begun.audio_characters += audio_characters
            self._account.answered(begun.attempt)

    def _done(self, response: Event) -> None:
        begun = self._begun.pop(response.get("id"), None)
        if begun is None:
            begun = _Begun(self._standing.take() or self._unexpected())
            self._account.begin(begun.attempt, response.get("id"))
        usage = realtime_usage(response.get("usage"))
        failed = response.get("status") == "failed"
        whole: Outcome = "upstream_broke" if failed else "completed" if usage is not None else "no_usage"
        output = begun.output if usage is None else usage
        self._settle(begun, whole, usage)
        self._conversation.answered(output.output_tokens, has_audio=output.output_audio_tokens > 0)

    def _settle(self, begun: _Begun, outcome: Outcome, usage: Usage | None) -> None:
        expects = begun.output._replace(input_tokens=self._conversation.tokens_about)
        attempt = begun.attempt
        attempt.request = RealtimeRequest(
            attempt.request.model, attempt.request.bound, b"", streamed=True, expects=expects
        )
        self._account.settle(attempt, outcome, usage)

    def _failed(self, message: str | bytes, error: Event) -> Relayed:
        """Give back what the upstream has refused: an error names the event that it is about, or else the oldest."""
        cause = error.get("event_id")
        if self._cap_event_id and cause == self._cap_event_id:
            name = self._target.upstream.name
            nonsense = UpstreamAnsweredNonsense(f"The upstream '{name}' does not let its answers be bounded.")
            return Relayed(closing=MustClose(nonsense, BROKEN))
        for asked in self._asked:
            if asked.event_id == cause or (cause is None and not self._begun):
                self._asked.remove(asked)
                self._account.refused(asked.attempt)
                break
        return Relayed([message])
