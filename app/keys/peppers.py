"""The secrets that keys are hashed with: the one for new keys, and those that older keys may still be under. Pure."""

from typing import NamedTuple

from app.keys import tokens
from app.setting_groups import Keys as KeysSettings


class Peppers(NamedTuple):
    """All of them."""

    current: bytes
    previous: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, settings: KeysSettings) -> "Peppers":
        """Return those that are configured."""
        assert settings.pepper is not None, "set by cli.py"  # noqa: S101 - narrows the type
        previous = tuple(pepper.get_secret_value().encode() for pepper in settings.previous_peppers)
        return cls(settings.pepper.get_secret_value().encode(), previous)

    def digest(self, token: str) -> bytes:
        """Return what *token* is stored as."""
        return tokens.digest(token, self.current)

    def digests(self, token: str) -> list[bytes]:
        """Return what *token* may be stored as, the current one first."""
        return [tokens.digest(token, pepper) for pepper in (self.current, *self.previous)]
