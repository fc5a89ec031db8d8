"""How an answer leaves: in one piece with its length, or as it comes, ended as soon as its end is known."""

from collections.abc import AsyncGenerator

from starlette.types import Message

from app.gateway.answer import Answer
from app.gateway.router import send_answer

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(piece: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": more}


class Pieces:
    """Yields *pieces*; whether the upstream has ended is known at *known_at*, if at all."""

    def __init__(self, *pieces: bytes, known_at: int | None = None) -> None:
        self._pieces = pieces
        self._known_at = known_at
        self._yielded = 0
        self.is_settled = False
        self.sent: list[Message] = []

    async def _generate(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            self._yielded += 1
            yield piece
        self.is_settled = True

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def relay(self) -> list[Message]:
        answer = Answer(200, [], self._generate(), has_ended=lambda: self._yielded == self._known_at)
        await send_answer(answer, self._send)
        return self.sent


async def test_an_answer_ends_with_its_last_piece_where_that_is_known_to_be_the_last() -> None:
    pieces = Pieces(b"a", b"b", known_at=2)
    assert await pieces.relay() == [START, body(b"a", more=True), body(b"b", more=False)]
    assert pieces.is_settled

    only = Pieces(b"a", known_at=1)
    assert await only.relay() == [START, body(b"a", more=False)]
    assert only.is_settled


async def test_an_answer_whose_end_comes_later_ends_then() -> None:
    pieces = Pieces(b"a", b"b")
    end = {"type": "http.response.body", "body": b""}
    assert await pieces.relay() == [START, body(b"a", more=True), body(b"b", more=True), end]
    assert pieces.is_settled


async def test_an_answer_without_a_generator_has_a_length() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await send_answer(Answer(200, [(b"x-a", b"b")], b"whole"), send)
    assert sent == [
        {**START, "headers": [(b"x-a", b"b"), (b"content-length", b"5")]},
        {"type": "http.response.body", "body": b"whole"},
    ]
