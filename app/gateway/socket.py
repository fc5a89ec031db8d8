"""What a WebSocket is to the gateway: messages from the caller, messages for it, and how it ends. Pure."""

from collections.abc import Awaitable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson

from app.errors import InvalidJson, InvalidRequest, WeirError
from app.gateway.body import refuse_scattered
from app.gateway.references import refuse_repeated
from app.ledger.entries import Outcome

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
REFUSED: Final = 1008
BROKEN: Final = 1011
RESTARTING: Final = 1012
"""Close codes (RFC 6455, section 7.4.1, and the registry of IANA)."""

_DECIDING: Final = frozenset({"item", "response", "session", "type"})
_QUOTES_AROUND_SOUND: Final = 12


class Left(NamedTuple):
    """The caller sends nothing more: it has left, or Weir stops and lets what is under way end."""

    is_stopping: bool = False


class ClientSocket(Protocol):
    """The caller's end of a socket."""

    def receive(self) -> Awaitable[str | bytes | Left]:
        """Return the next message, or that there is none any more."""

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message; waits while the caller reads slowly. Raises ClientGone."""

    def close(self, code: int, reason: str) -> Awaitable[None]:
        """Close the socket; nothing is raised when it is closed already."""


class ClientGone(Exception):
    """The caller has closed its connection."""


class MustClose(Exception):
    """What was asked cannot be had, and the socket cannot go on without it."""

    def __init__(self, error: WeirError, code: int = REFUSED) -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code


class End(NamedTuple):
    """How a socket ends: what is said to the caller, and what becomes of the responses that are under way."""

    outcome: Literal["client_left", "upstream_broke"]
    code: int = BROKEN
    reason: str = ""
    error: WeirError | None = None
    waits: bool = False
    """What is under way may come to its end before."""


class Relayed(NamedTuple):
    """What a message of the upstream leads to, in order."""

    down: Sequence[str | bytes] = ()
    """To the caller."""
    up: Sequence[str] = ()
    """To the upstream."""
    closing: MustClose | None = None
    """Set where the socket cannot go on then."""


class Meter(Protocol):
    """Meters what goes through one socket: reserves before, settles after."""

    def from_client(self, message: str | bytes) -> Awaitable[Sequence[str]]:
        """Return what goes upstream for a message of the caller.

        Raises a Refusal or an Operational error, of which the caller gets an event, or MustClose.
        """

    def from_upstream(self, message: str | bytes) -> Awaitable[Relayed]:
        """Return what a message of the upstream leads to."""

    def prepare(self) -> Awaitable[Sequence[str]]:
        """Return what goes upstream after a message of its, so that what it begins next is paid for.

        Raises MustClose where that cannot be.
        """

    def error_event(self, error: WeirError, cause: str | bytes = "") -> str:
        """Return the event that tells the caller of an *error*, which a message of its may have been the *cause* of."""

    def is_idle(self) -> bool:
        """Tell whether nothing is under way."""

    def end(self, outcome: Outcome) -> None:
        """Settle whatever is under way."""


def event_of(message: str | bytes) -> dict[str, Any]:
    """Return the JSON object that a message is; raises InvalidJson for anything else."""
    try:
        event = orjson.loads(message)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict) or isinstance(message, bytes):
        raise InvalidJson("A message must be a JSON object, sent as text.")
    return event


def read_event(message: str | bytes) -> dict[str, Any]:
    """Return the event that a message of the caller is.

    Raises InvalidJson, and InvalidRequest for one of very many values, or one that the upstream may read otherwise than
    Weir: with a member twice, or named in another case.
    """
    refuse_scattered(message.encode() if isinstance(message, str) else message)
    event = event_of(message)
    for name in event:
        if name not in _DECIDING and name.casefold() in _DECIDING:
            raise InvalidRequest(f"Unknown parameter: '{name[:100]}'. Names are lower case.", param=name[:100])
    text = str(message)
    # A message that only brings sound has three members: it is not read a second time.
    if text.count('"') > _QUOTES_AROUND_SOUND or text.count('"type"') > 1 or "\\u" in text:
        refuse_repeated(text.encode())
    return event
