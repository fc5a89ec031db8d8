"""Lists of budgets, of what was changed in one, and of its windows, on the wire."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from app.budgets.record import ChangeKind, ChangeRecord, Standing, WindowRecord
from app.budgets.schemas import BUDGET_EXAMPLE, Budget
from app.core.money import Nano, usd_text
from app.core.pagination import Order, Page, Paging
from app.core.shape import Shape
from app.core.wire import Listed, ListQuery, list_example, page_of

_CHANGE: Final = "bchg_"
_WINDOW: Final = "bwin_"
ChangeId = Annotated[str, StringConstraints(pattern=rf"^{_CHANGE}[0-9]{{1,18}}$")]
WindowId = Annotated[str, StringConstraints(pattern=rf"^{_WINDOW}[0-9]{{1,18}}$")]


class _NumberedQuery(ListQuery):
    order: Order = Field("desc", description="`desc`: the newest first.")

    def paging(self) -> Paging:
        """Return which page is wanted, after a number instead of an id."""
        return Paging(self.after and self.after.partition("_")[2], self.limit, self.order)


class ChangesQuery(_NumberedQuery):
    """Which page of a budget's history to show."""

    after: ChangeId | None = None


class WindowsQuery(_NumberedQuery):
    """Which page of a budget's windows to show."""

    after: WindowId | None = None


class BudgetList(Listed[Budget]):
    """A page of budgets; ask for the next one with `after` set to `last_id`."""

    model_config = list_example(BUDGET_EXAMPLE)

    @classmethod
    def of(cls, page: Page[Standing]) -> "BudgetList":
        """Return *page* as it is shown."""
        return cls(**page_of([Budget.of(standing) for standing in page.items], has_more=page.has_more))


class BudgetChange(Shape):
    """What somebody did to a budget: the fields that are different since, before and after."""

    id: ChangeId
    object: Literal["weir.budget.change"] = "weir.budget.change"
    changed_at: int
    changed_by: str = Field(description="The id of the admin key.")
    kind: ChangeKind
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @classmethod
    def of(cls, change: ChangeRecord) -> "BudgetChange":
        """Return *change* as it is shown."""
        return cls(
            id=f"{_CHANGE}{change.id}",
            changed_at=int(change.changed_at.timestamp()),
            changed_by=change.changed_by,
            kind=change.kind,
            before=change.before,
            after=change.after,
        )


class BudgetChangeList(Listed[BudgetChange]):
    """A page of a budget's history."""

    model_config = list_example(
        {
            "id": "bchg_7",
            "object": "weir.budget.change",
            "changed_at": 1795361640,
            "changed_by": "key_5a1b",
            "kind": "updated",
            "before": {"limit_usd": "250"},
            "after": {"limit_usd": "300"},
        }
    )

    @classmethod
    def of(cls, page: Page[ChangeRecord]) -> "BudgetChangeList":
        """Return *page* as it is shown."""
        return cls(**page_of([BudgetChange.of(change) for change in page.items], has_more=page.has_more))


class PastWindow(Shape):
    """What happened in one window of a budget; its history says what the limit was then."""

    id: WindowId
    object: Literal["weir.budget.window"] = "weir.budget.window"
    starts_at: int
    ends_at: int | None
    extra_usd: str = Field(description="What was added to the limit for this window only.")
    opening_usd: str | None
    spent_usd: str
    reserved_usd: str
    withheld_usd: str

    @classmethod
    def of(cls, window: WindowRecord) -> "PastWindow":
        """Return *window* as it is shown."""
        return cls(
            id=f"{_WINDOW}{window.id}",
            starts_at=int(window.starts_at.timestamp()),
            ends_at=None if window.ends_at is None else int(window.ends_at.timestamp()),
            extra_usd=usd_text(Nano(window.extra_nano)),
            opening_usd=None if window.opening_nano is None else usd_text(Nano(window.opening_nano)),
            spent_usd=usd_text(Nano(window.spent_nano)),
            reserved_usd=usd_text(Nano(window.reserved_nano)),
            withheld_usd=usd_text(Nano(window.withheld_nano)),
        )


class PastWindowList(Listed[PastWindow]):
    """A page of the windows of a budget in which anything happened."""

    model_config = list_example(
        {
            "id": "bwin_12",
            "object": "weir.budget.window",
            "starts_at": 1793491200,
            "ends_at": 1796083200,
            "extra_usd": "0",
            "opening_usd": "0",
            "spent_usd": "12.0413205",
            "reserved_usd": "0",
            "withheld_usd": "0",
        }
    )

    @classmethod
    def of(cls, page: Page[WindowRecord]) -> "PastWindowList":
        """Return *page* as it is shown."""
        return cls(**page_of([PastWindow.of(window) for window in page.items], has_more=page.has_more))
