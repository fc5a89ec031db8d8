"""Who is acting right now, for the audit log: set where a caller is authenticated, read where a change is written."""

from contextvars import ContextVar
from typing import Final, Literal, NamedTuple


class Actor(NamedTuple):
    """A key, a signed-in person, or Weir itself (a command, a job)."""

    kind: Literal["api_key", "session", "system"]
    id: str | None = None
    """The id of the key or of the session."""
    user_id: str | None = None
    email: str | None = None
    address: str | None = None
    """The IP address of the client, as far as it is known."""
    user_agent: str | None = None
    request_id: str | None = None


SYSTEM: Final = Actor("system")

acting: Final[ContextVar[Actor]] = ContextVar("weir_actor", default=SYSTEM)
"""The actor of the code that runs."""
