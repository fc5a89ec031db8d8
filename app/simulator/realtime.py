"""/v1/realtime: sessions whose responses are text or sound, asked for, or begun when somebody has spoken.

Sound is what it is asked for: samples that are not zero are speech, and a message of zeros after it is its end.
https://platform.openai.com/docs/api-reference/realtime-server-events
"""

import asyncio
import base64
from contextlib import suppress
from typing import Final

from app.simulator.account import Account
from app.simulator.call import Call, Ending
from app.simulator.exchange import ClientLeft, Dropped, Scope
from app.simulator.fields import Document, read_document, read_text
from app.simulator.realtime_response import RealtimeAnswer
from app.simulator.realtime_session import Session, sound_tokens
from app.simulator.refusal import Refusal, invalid_value, scripted
from app.simulator.script import Script
from app.simulator.socket_peer import SocketPeer

_PATH: Final = "/v1/realtime"
_SPOKEN: Final = base64.b64encode(b"\x01\x00" * 1_200).decode()
"""50 ms: a token of what is spoken."""


class Realtime:
    """One connection."""

    def __init__(
        self, peer: SocketPeer, account: Account, script: Script, scope: Scope, *, hang_seconds_max: float
    ) -> None:
        self._peer = peer
        self._account = account
        self._script = script
        self._headers = scope["headers"]
        self._hang_seconds_max = hang_seconds_max
        self._session: Session
        self._answering: asyncio.Task[None] | None = None
        self._cancelled = asyncio.Event()

    async def run(self, model: str, query: dict[str, str]) -> None:
        """Serve until the client leaves; raises Dropped where the script wants the connection dropped."""
        is_transcription = query.get("intent") == "transcription"
        self._session = Session(f"{id(self):x}", model, is_transcription=is_transcription)
        session = self._session
        await self._peer.send(session.event("session.created", session=session.settings))
        reading = asyncio.create_task(self._read())
        try:
            await reading
        finally:
            reading.cancel()
            if self._answering is not None:
                self._answering.cancel()
                with suppress(asyncio.CancelledError, ClientLeft):
                    await self._answering

    async def _read(self) -> None:
        while (text := await self._peer.next()) is not None:
            event: Document = {}
            try:
                event = read_document(text.encode())
                await self._handle(read_text(event, "type"), event)
            except Refusal as refusal:
                error = {**refusal.error, "event_id": event.get("event_id")}
                await self._peer.send(self._session.event("error", error=error))
            if self._answering is not None and self._answering.done():
                self._answering.result()

    async def _handle(self, kind: str, event: Document) -> None:
        session, send = self._session, self._peer.send
        match kind:
            case "session.update":
                session.update(event.get("session") or {})
                await send(session.event("session.updated", session=session.settings))
            case "conversation.item.create":
                await self._added(session.add(event.get("item") or {}))
            case "input_audio_buffer.append":
                if session.append(event.get("audio")):
                    await self._spoken()
            case "input_audio_buffer.commit":
                await self._commit()
            case "response.create":
                self._answer(event.get("response") or {})
            case "response.cancel":
                if self._answering is None or self._answering.done():
                    message = "Cancellation failed: no active response found"
                    raise Refusal(400, message, code="response_cancel_not_active")
                self._cancelled.set()
            case _:
                raise invalid_value("type", f"Invalid value: '{kind}'.")

    async def _spoken(self) -> None:
        session = self._session
        await self._peer.send(session.event("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="item"))
        await self._commit()
        if session.detects_turns:
            self._answer({})

    async def _commit(self) -> None:
        session, send = self._session, self._peer.send
        seconds = len(session.buffer) / 48_000
        tokens = sound_tokens(bytes(session.buffer))
        item = session.commit()
        await send(session.event("input_audio_buffer.committed", previous_item_id=None, item_id=item["id"]))
        await self._added(item)
        if (model := session.transcriber) is None:
            return
        call = self._account.open("transcription", _PATH, self._headers)
        call.model, call.prompt_tokens, call.completion_tokens = model, tokens, 2
        usage: Document = {"type": "duration", "seconds": seconds}
        if not model.startswith("whisper"):
            details = {"text_tokens": 0, "audio_tokens": tokens}
            usage = {"type": "tokens", "total_tokens": tokens + 2, "input_tokens": tokens, "output_tokens": 2}
            usage["input_token_details"] = details
        kind = "conversation.item.input_audio_transcription.completed"
        await send(session.event(kind, item_id=item["id"], content_index=0, transcript="Hello there.", usage=usage))
        self._account.close(call, Ending.FINISHED)

    async def _added(self, item: Document) -> None:
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._peer.send(self._session.event(kind, previous_item_id=None, item=item))

    def _answer(self, asked: Document) -> None:
        if self._answering is not None and not self._answering.done():
            message = "Conversation already has an active response in progress."
            raise Refusal(400, message, code="conversation_already_has_active_response")
        self._cancelled.clear()
        self._answering = asyncio.create_task(self._respond(asked), name="response")

    async def _respond(self, asked: Document) -> None:
        call = self._account.open("response.create", _PATH, self._headers)
        call.stream, call.status = True, 101
        ending = Ending.CUT
        try:
            ending = await self._send_response(call, RealtimeAnswer(self._session, self._script, asked))
        except (ClientLeft, asyncio.CancelledError):
            ending = Ending.CLIENT_LEFT
            raise
        except Dropped as dropped:
            self._account.close(call, dropped.ending)
            await self._peer.drop()
        finally:
            self._account.close(call, ending)

    async def _send_response(self, call: Call, answer: RealtimeAnswer) -> Ending:
        session, script, send = self._session, self._script, self._peer.send
        call.model, call.prompt_tokens, call.cached_tokens = session.model, answer.input_tokens, script.cached_tokens
        await self._peer.pause(script.latency_ms / 1000)
        if script.hang == "before":
            await self._hang()
        for event in answer.beginning():
            await send(event)
        pace = script.tokens_per_second
        for number, token in enumerate(answer.tokens, start=1):
            await self._peer.pause(1 / pace if pace else 0)
            if self._cancelled.is_set():
                break
            call.completion_tokens += answer.tokens_of_piece
            for event in answer.piece(token, _SPOKEN):
                await send('{"type": "response.' if script.malformed and number == 1 else event)
            call.completion_tokens_sent += answer.tokens_of_piece
            if await self._is_broken_off(call, answer, number):
                return Ending.CUT
        for event in answer.ending(call.completion_tokens, is_cancelled=self._cancelled.is_set()):
            await send(event)
        return Ending.FINISHED

    async def _is_broken_off(self, call: Call, answer: RealtimeAnswer, number: int) -> bool:
        """Do what the script wants after so many words; tell whether the response was ended."""
        script = self._script
        if script.hang == number:
            await self._hang()
        if script.cut_after == number:
            raise Dropped(Ending.CUT)
        if script.eof_after == number:
            await self._peer.close(1001)
        elif script.error_after == number:
            error = scripted(500, None, script.error_code).error
            await self._peer.send(answer.failed(call.completion_tokens, error))
        else:
            return False
        return True

    async def _hang(self) -> None:
        await self._peer.pause(self._hang_seconds_max)
        raise Dropped(Ending.HUNG)
