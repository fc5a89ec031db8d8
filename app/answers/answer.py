"""An answer as it is kept: named so that its name tells nothing, and encrypted under a key of its own. Pure."""

import hmac
from typing import Final, NamedTuple

import orjson

from app.core.crypto import SecretBox, derive_key

_LENGTH_BYTES: Final = 4


class KeptAnswer(NamedTuple):
    """A whole answer, with what is true of it whenever it is given; its status is 200."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    ttl_seconds: int
    """For how long it was kept in the first place."""

    def packed(self) -> bytes:
        """Return it in one piece."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        head = orjson.dumps((self.ttl_seconds, headers))
        return len(head).to_bytes(_LENGTH_BYTES) + head + self.body

    @classmethod
    def unpacked(cls, data: bytes) -> "KeptAnswer":
        """Return the answer in *data*, which `packed` made."""
        begin = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
        ttl_seconds, headers = orjson.loads(data[_LENGTH_BYTES:begin])
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return cls(raw, data[begin:], ttl_seconds)


class AnswerBox:
    """Names and encrypts answers. Without its secret a name tells no more than a random one, nor does an answer."""

    def __init__(self, secret: bytes) -> None:
        self._name_key = derive_key(secret, b"weir names of cached answers")
        self._answer_key = derive_key(secret, b"weir cached answers")

    def name(self, *parts: bytes) -> str:
        """Return the name of what is asked for by *parts*: another one if any of them is another."""
        digest = hmac.new(self._name_key, digestmod="sha256")
        for part in parts:
            digest.update(len(part).to_bytes(8))
            digest.update(part)
        return digest.hexdigest()

    def seal(self, name: str, answer: KeptAnswer) -> bytes:
        """Return *answer* encrypted."""
        return self._box(name).seal(answer.packed(), name)

    def open(self, name: str, data: bytes) -> KeptAnswer:
        """Return the answer in *data*; raises CannotDecrypt for what was not sealed under this name."""
        return KeptAnswer.unpacked(self._box(name).open(data, name))

    def _box(self, name: str) -> SecretBox:
        # A key for each name: of one key, random nonces would not last for all the answers of a busy year.
        return SecretBox([hmac.digest(self._answer_key, name.encode(), "sha256")])
