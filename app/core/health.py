"""Whether a dependency answers: remembered, counted, and logged once per change rather than once per call."""

from collections.abc import Callable
from typing import Final

import structlog

_log: Final = structlog.get_logger()


class Dependency:
    """The last known state of one dependency, such as PostgreSQL; `on_change(is_up)` may feed a metric."""

    def __init__(self, name: str, on_change: Callable[[bool], None] | None = None) -> None:
        self.name = name
        self.reason: str | None = None
        """Why it is down, in one line; None while it is up."""
        self._on_change = on_change
        self._changed(is_up=True)  # a metric that nobody sets would begin with 0

    @property
    def is_up(self) -> bool:
        """Whether the last use of the dependency went well."""
        return self.reason is None

    def up(self) -> None:
        """Record that it answered."""
        if self.reason is not None:
            self.reason = None
            _log.info("dependency_back", dependency=self.name)
            self._changed(is_up=True)

    def down(self, reason: str) -> None:
        """Record that it did not answer, and why."""
        was_up, self.reason = self.is_up, reason
        if was_up:
            _log.warning("dependency_lost", dependency=self.name, reason=reason)
            self._changed(is_up=False)

    def _changed(self, *, is_up: bool) -> None:
        if self._on_change is not None:
            self._on_change(is_up)
