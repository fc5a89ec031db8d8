"""The windows that calls count in: which, and what is left in them. Used inside the transactions of `service.py`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from app.budgets import windows_repository as repository
from app.budgets.admission import CurrentWindows, Window
from app.budgets.budget import Budget, BudgetBook, Payer
from app.budgets.periods import Span
from app.core.db import HotConnection

_ROOM: Final = 10**30
"""More than anything can cost."""
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class BudgetsChanged(Exception):
    """What was decided is out of date: prepare and decide again."""


class WindowService:
    """Remembers the budgets that callers count in, and the ids of the windows that are current.

    For one user at a time: what was prepared stays until it is written by.
    """

    def __init__(self) -> None:
        self._book = BudgetBook(0)
        self._current: dict[str, tuple[Span, int]] = {}

    async def prepare(self, connection: HotConnection, payers: Iterable[Payer]) -> None:
        """Learn the budgets that *payers* count in, and make the windows that they need; outside of a transaction.

        All replicas ask the database what time it is, so a call is in the same window wherever it arrives. What is read
        after another change is not of this version, and then nothing is written by it either: that is for the next.
        """
        version, now = await repository.get_version(connection)
        if version != self._book.version or self._book.is_full:
            self._book = BudgetBook(version)
            self._current.clear()
        if unknown := self._book.unknown(payers):
            self._book.learn(unknown, await repository.read_budgets(connection, unknown))
        missing = [budget for budget in self._budgets_of(payers) if not self._is_current(budget, now)]
        if missing:
            spans = [(budget.id, budget.window_at(now)) for budget in missing]
            ids = await repository.make_windows(connection, spans)
            for budget_id, span in spans:
                self._current[budget_id] = (span, ids[budget_id, span.starts_at])

    async def lock(self, connection: HotConnection, payers: Sequence[Payer]) -> list[list[Window]]:
        """Lock the current windows of *payers*, in the order of their ids, and return those of each.

        Two payers with a budget in common get the same object. Raises BudgetsChanged where a window is not there.
        """
        budgets = {budget.id: budget for budget in self._budgets_of(payers)}
        if not budgets:
            return [[] for _ in payers]
        by_window = {self._current[budget_id][1]: budget_id for budget_id in budgets}
        windows: dict[str, Window] = {}
        for balance in await repository.lock_windows(connection, by_window):
            budget_id = by_window[balance.id]
            windows[budget_id] = Window(
                id=balance.id,
                budget=budgets[budget_id],
                span=self._current[budget_id][0],
                extra_nano=balance.extra_nano,
                spent_nano=balance.spent_nano,
                reserved_nano=balance.reserved_nano,
                withheld_nano=balance.withheld_nano,
            )
        if len(windows) < len(budgets):  # somebody has deleted one by hand
            self._current.clear()
            raise BudgetsChanged
        return [[windows[budget.id] for budget in self._book.find(payer)] for payer in payers]

    def imagine(self, payers: Sequence[Payer]) -> tuple[list[list[Window]], CurrentWindows]:
        """Return windows as `lock` does, but with room for everything, and what must be true for that to be right.

        A group that is admitted by them may be written where the database finds the room, and in no other case.
        """
        windows: dict[str, Window] = {}
        starts_at, ends_at = _FIRST, _LAST
        for budget in self._budgets_of(payers):
            span, window_id = self._current[budget.id]
            windows[budget.id] = Window(window_id, budget, span, extra_nano=_ROOM, spent_nano=0, reserved_nano=0)
            starts_at = max(starts_at, span.starts_at)
            ends_at = min(ends_at, span.ends_at or _LAST)
        limits = {each.id: each.budget.limit_nano if each.budget.refuses else None for each in windows.values()}
        of_payer = {payer: [windows[budget.id] for budget in self._book.find(payer)] for payer in set(payers)}
        current = CurrentWindows(self._book.version, starts_at, ends_at, limits)
        return [of_payer[payer] for payer in payers], current

    @property
    def version(self) -> int:
        """The version of the budgets that this process knows."""
        return self._book.version

    def knows(self, payers: Iterable[Payer]) -> bool:
        """Tell whether `lock` can be tried without `prepare`: what has changed since then is found out afterwards."""
        return not self._book.unknown(payers) and all(budget.id in self._current for budget in self._budgets_of(payers))

    def require_current(self, payers: Iterable[Payer], version: int, now: datetime) -> None:
        """Raise BudgetsChanged when the budgets have another *version*, or a window of *payers* has ended by *now*."""
        if version != self._book.version or not all(self._is_current(each, now) for each in self._budgets_of(payers)):
            raise BudgetsChanged

    def _budgets_of(self, payers: Iterable[Payer]) -> Iterable[Budget]:
        """Return the budgets of *payers*, each once."""
        return {budget.id: budget for payer in set(payers) for budget in self._book.find(payer)}.values()

    def _is_current(self, budget: Budget, now: datetime) -> bool:
        current = self._current.get(budget.id)
        return current is not None and current[0].holds(now)
