"""Lists of budgets, of what was changed in one, and of its windows, on the wire."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.budgets.record import ChangeKind, ChangeRecord, Standing, WindowRecord
from app.budgets.schemas import BUDGET_EXAMPLE, Budget
from app.core.money import Nano, usd_text
from app.core.pagination import Order, Page, Paging

_CHANGE: Final = "bchg_"
_WINDOW: Final = "bwin_"
ChangeId = Annotated[str, StringConstraints(pattern=rf"^{_CHANGE}[0-9]{{1,18}}$")]
WindowId = Annotated[str, StringConstraints(pattern=rf"^{_WINDOW}[0-9]{{1,18}}$")]


def list_of(*examples: Any) -> ConfigDict:
    """Return the configuration of a list whose example has *examples* on its page."""
    ids = [example["id"] for example in examples]
    page = {"object": "list", "data": list(examples), "first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return ConfigDict(json_schema_extra={"example": page})


def ends(ids: Sequence[str]) -> dict[str, str | None]:
    """Return the first and the last id of a page, as every list shows them."""
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


class OwnBudgetsQuery(BaseModel):
    """Which page of the caller's own budgets to show."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00]*$")] | None = None
    limit: int = Field(20, ge=1, le=100)
    order: Order = "asc"

    def paging(self) -> Paging:
        """Return which page is wanted."""
        return Paging(self.after, self.limit, self.order)


class ChangesQuery(BaseModel):
    """Which page of a budget's history to show."""

    model_config = ConfigDict(extra="forbid")

    after: ChangeId | None = None
    limit: int = Field(20, ge=1, le=100)
    order: Order = Field("desc", description="`desc`: the newest first.")

    def paging(self) -> Paging:
        """Return which page is wanted, after a number instead of an id."""
        return Paging(self.after and self.after.removeprefix(_CHANGE), self.limit, self.order)


class WindowsQuery(BaseModel):
    """Which page of a budget's windows to show."""

    model_config = ConfigDict(extra="forbid")

    after: WindowId | None = None
    limit: int = Field(20, ge=1, le=100)
    order: Order = Field("desc", description="`desc`: the newest first.")

    def paging(self) -> Paging:
        """Return which page is wanted, after a number instead of an id."""
        return Paging(self.after and self.after.removeprefix(_WINDOW), self.limit, self.order)


class BudgetList(BaseModel):
    """A page of budgets; ask for the next one with `after` set to `last_id`."""

    model_config = list_of(BUDGET_EXAMPLE)

    object: Literal["list"] = "list"
    data: list[Budget]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[Standing]) -> "BudgetList":
        """Return *page* as it is shown."""
        data = [Budget.of(standing) for standing in page.items]
        return cls(data=data, has_more=page.has_more, **ends([budget.id for budget in data]))


class BudgetDeleted(BaseModel):
    """The budget is archived: it counts and refuses nothing any more, but can still be read."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": BUDGET_EXAMPLE["id"], "object": "weir.budget.deleted", "deleted": True}}
    )

    id: str
    object: Literal["weir.budget.deleted"] = "weir.budget.deleted"
    deleted: bool = True


class BudgetChange(BaseModel):
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


class BudgetChangeList(BaseModel):
    """A page of a budget's history."""

    model_config = list_of(
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

    object: Literal["list"] = "list"
    data: list[BudgetChange]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[ChangeRecord]) -> "BudgetChangeList":
        """Return *page* as it is shown."""
        data = [BudgetChange.of(change) for change in page.items]
        return cls(data=data, has_more=page.has_more, **ends([change.id for change in data]))


class PastWindow(BaseModel):
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


class PastWindowList(BaseModel):
    """A page of the windows of a budget in which anything happened."""

    model_config = list_of(
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

    object: Literal["list"] = "list"
    data: list[PastWindow]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[WindowRecord]) -> "PastWindowList":
        """Return *page* as it is shown."""
        data = [PastWindow.of(window) for window in page.items]
        return cls(data=data, has_more=page.has_more, **ends([window.id for window in data]))
