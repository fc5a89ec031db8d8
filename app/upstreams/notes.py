"""What processes tell each other about upstreams, as text: that a breaker has opened or closed, that one cools down.

Pure. What cannot be read comes from another version of Weir, and is passed over.
"""

from typing import Any, Final, Literal, NamedTuple, get_args

import orjson

from app.upstreams.breaker import Opening

Said = Literal["opened", "closed", "cooling_down", "here"]
"""`here`: that a process is there at all."""
_SEPARATOR: Final = "\x1f"


class Message(NamedTuple):
    """One thing that is said; when it ends is said beside it."""

    said: Said
    by: str
    """A process."""
    number: int = 0
    """Counts what that process has said, so that the same is not heard twice."""
    upstream: str = ""
    base_url: str = ""
    """Of the upstream: of another server by the same name it is not true."""
    model: str = ""
    openings: int = 0
    why: str = ""
    needs_probe: bool = False

    @property
    def name(self) -> str:
        """What its note is called: of what opens and closes the last word counts, by whomever."""
        if self.said == "here":
            return f"here{_SEPARATOR}{self.by}"
        topic = "cooling_down" if self.said == "cooling_down" else "breaker"
        return _SEPARATOR.join((topic, self.upstream, self.base_url, self.model))

    def text(self) -> str:
        """Return it as others read it."""
        return orjson.dumps(self._asdict()).decode()

    def opening(self, until: float) -> Opening:
        """Return what a breaker is to believe."""
        return Opening(until, self.openings, self.why, self.needs_probe)


_FIELDS: Final = {name: type(value) for name, value in Message("here", "")._asdict().items()}


def read(text: str) -> Message | None:
    """Return what *text* says, None for what nobody here understands."""
    try:
        document: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or {name: type(value) for name, value in document.items()} != _FIELDS:
        return None
    return Message(**document) if document["said"] in get_args(Said) else None
