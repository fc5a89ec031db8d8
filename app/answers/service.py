"""Answers that are kept for a while, for whoever asks for the very same. Losing them costs a call, never money."""

from app.answers.answer import AnswerBox, KeptAnswer
from app.answers.store import AnswerStore
from app.core.crypto import CannotDecrypt


class AnswerService:
    """Finds and keeps answers; neither ever fails, or waits for a Redis that is away."""

    def __init__(self, store: AnswerStore, box: AnswerBox, size_bytes_max: int) -> None:
        self._store = store
        self._box = box
        self._size_bytes_max = size_bytes_max

    def name(self, *parts: bytes) -> str:
        """Return the name of what is asked for by *parts*: another one if any of them is another."""
        return self._box.name(*parts)

    async def find(self, name: str) -> tuple[KeptAnswer, int] | None:
        """Return the answer that is kept under *name* and how old it is in seconds, None without one."""
        found = await self._store.find(name)
        if found is None:
            return None
        try:
            answer = self._box.open(name, found.data)
        except CannotDecrypt:  # somebody has written to Redis beside Weir
            return None
        return answer, max(0, answer.ttl_seconds - -(-found.left_ms // 1_000))

    async def keep(self, name: str, answer: KeptAnswer) -> bool:
        """Keep *answer* under *name*, in place of what is there; tells whether it is kept."""
        if len(answer.body) > self._size_bytes_max:
            return False
        return await self._store.keep(name, self._box.seal(name, answer), answer.ttl_seconds)
