"""An upstream's answer as the rest of Weir sees it, whatever HTTP client brought it."""

from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self


class UpstreamAnswer(Protocol):
    """An answer whose head has arrived; its body is read whole or piece by piece, once, and then closed."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; the first of repeated ones."""
    raw_headers: Sequence[tuple[bytes, bytes]]
    """As they came, in order, repeated ones too; names in lower case."""

    @property
    def is_read(self) -> bool:
        """Whether the whole body has come, and was read: then all that is left to read is its end."""

    def read_some(self) -> Awaitable[bytes]:
        """Return the next bytes of the body, b"" at its end; raises UpstreamFailed."""

    def read_soon(self, patience_seconds: float) -> Awaitable[bytes | None]:
        """Return the next bytes of the body, b"" at its end, None when nothing came for so long; raises UpstreamFailed.

        After None it can be asked again.
        """

    def read_all(self) -> Awaitable[bytes]:
        """Return the whole body; raises UpstreamFailed, also when it is longer than is allowed."""

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it: that tells the upstream to stop."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
