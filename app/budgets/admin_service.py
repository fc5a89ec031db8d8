"""Budgets are made, changed, paused, topped up and archived here, and every change is in their history.

Every process learns of a change before the next group of calls that it reserves.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from app.audit.service import record as audit
from app.budgets import admin_repository as repository
from app.budgets import opening_repository
from app.budgets.budget import LIMIT_NANO_MAX, Scope
from app.budgets.opening_service import OpeningService
from app.budgets.record import (
    IN_FORCE_MAX,
    SPEND_LIMIT,
    BudgetFilter,
    BudgetRecord,
    ChangeKind,
    ChangeRecord,
    Editor,
    NewBudget,
    Standing,
    WindowRecord,
    shown,
)
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.money import Nano, usd_text
from app.core.pagination import Page, Paging
from app.core.version_tags import require_version
from app.errors import InvalidRequest, MissingParameter, NotFound
from app.keys.caller import Caller

Exists = Callable[[str], Awaitable[bool]]
"""Tells whether there is a project, or an API key, with this id."""

Edit = Callable[[BudgetRecord, datetime], Mapping[str, Any]]
"""Returns the columns of a budget as they are to be, given how it is and what time it is."""


class BudgetAdminService:
    """Every method raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, openings: OpeningService, exists: Mapping[Scope, Exists]) -> None:
        self._db = db
        self._openings = openings
        self._exists = exists

    async def create(self, new: NewBudget, changed_by: str) -> Standing:
        """Make a budget that counts from the beginning of its current window; raises InvalidRequest or NotFound."""
        await self._check_scope(new)
        async with self._db.transaction() as tx:
            await repository.count_up_version(tx)
            record = await self._create(tx, new, changed_by)
        return await self._opened(record)

    async def create_or_update(self, new: NewBudget, editor: Editor) -> Standing:
        """Give the budget in force of this name and scope a new limit and mode, and resume it; make it if need be.

        Raises PreconditionFailed for another version than that of *editor*, or where there is none.
        """
        await self._check_scope(new)
        async with self._db.transaction() as tx:
            await repository.count_up_version(tx)
            found = await repository.find_in_force(tx, new.name, new.scope, new.scope_id)
            require_version(editor.if_match, 0 if found is None else found.version, "budget")
            if found is None:
                record = await self._create(tx, new, editor.key_id)
            else:
                columns = {"limit_nano": new.limit_nano, "mode": new.mode, "paused_at": None}
                record = await self._write(tx, found, "updated", columns, editor.key_id)
        return await self._opened(record)

    async def update(self, budget_id: str, columns: Mapping[str, Any], editor: Editor) -> Standing:
        """Set some of `name`, `limit_nano` and `mode`; raises NotFound, InvalidRequest or PreconditionFailed."""

        def edit(record: BudgetRecord, _: datetime) -> Mapping[str, Any]:
            if record.name == SPEND_LIMIT and "name" in columns:
                raise InvalidRequest("Invalid value for 'name': a spend limit is found by it.", param="name")
            return columns

        return await self._change(budget_id, "updated", edit, editor)

    async def pause(self, budget_id: str, editor: Editor) -> Standing:
        """Let a budget refuse nothing, though it goes on counting; raises as `update` does."""
        return await self._change(
            budget_id, "paused", lambda record, now: {"paused_at": record.paused_at or now}, editor
        )

    async def resume(self, budget_id: str, editor: Editor) -> Standing:
        """Let a paused budget refuse again; raises as `update` does."""
        return await self._change(budget_id, "resumed", lambda *_: {"paused_at": None}, editor)

    async def archive(self, budget_id: str, editor: Editor) -> Standing:
        """End a budget for good; its windows and its history stay. Raises as `update` does."""
        return await self._change(budget_id, "archived", lambda _, now: {"archived_at": now}, editor)

    async def top_up(self, budget_id: str, amount_nano: Nano, editor: Editor) -> Standing:
        """Add to the limit of the current window only, or take from it; raises as `update` does."""
        async with self._db.transaction() as tx:
            await repository.count_up_version(tx)
            record = await self._get_for_change(tx, budget_id, editor)
            span = record.window_at(await repository.get_moment(tx))
            await opening_repository.make_window(tx, budget_id, span, opening_nano=0)
            extra_nano = await opening_repository.add_extra(tx, budget_id, span.starts_at, amount_nano)
            if not 0 <= record.limit_nano + extra_nano <= LIMIT_NANO_MAX:
                raise InvalidRequest(
                    f"Invalid value for 'amount_usd': the limit of this window would be "
                    f"{usd_text(Nano(record.limit_nano + extra_nano))} dollars; it must stay between 0 and "
                    f"{usd_text(LIMIT_NANO_MAX)}.",
                    param="amount_usd",
                )
            record = await repository.update_budget(tx, budget_id, {})
            starts_at = shown("window_starts_at", span.starts_at)
            values = [dict([starts_at, shown("extra_nano", nano)]) for nano in (extra_nano - amount_nano, extra_nano)]
            standing = (await self._stand(tx, [record]))[0]
            await self._write_down(tx, record, "topped_up", editor.key_id, (values[0], values[1]))
            return standing

    async def get(self, budget_id: str) -> Standing:
        """Return a budget, archived or not, and its current window; raises NotFound."""
        async with self._db.transaction() as tx:
            return (await self._stand(tx, [await self._get(tx, budget_id)]))[0]

    async def find_in_force(self, name: str, scope: Scope, scope_id: str | None) -> BudgetRecord | None:
        """Return the budget in force of this name and scope."""
        async with self._db.transaction() as tx:
            return await repository.find_in_force(tx, name, scope, scope_id)

    async def list_budgets(
        self, wanted: BudgetFilter, sort: Literal["created_at", "name"], paging: Paging
    ) -> Page[Standing]:
        """Return a page of budgets; raises InvalidRequest for an unknown `after`."""
        async with self._db.transaction() as tx:
            after = None if paging.after is None else await repository.find_budget(tx, paging.after)
            is_hidden = (
                after is not None and wanted.scopes is not None and (after.scope, after.scope_id) not in wanted.scopes
            )
            if paging.after is not None and (after is None or is_hidden):
                raise InvalidRequest("Invalid value for 'after': there is no such budget.", param="after")
            found = Page.of(await repository.list_budgets(tx, wanted, sort, paging, after), paging.limit)
            return Page(await self._stand(tx, found.items), found.has_more)

    async def list_own(self, caller: Caller, paging: Paging) -> Page[Standing]:
        """Return a page of the budgets that calls of *caller* count in, for some model at least; raises as above."""
        own: list[tuple[Scope, str | None]] = [("organization", None)]
        if caller.project_id is not None:
            own += [("project", caller.project_id), ("api_key", caller.key_id)]
        if caller.user_id is not None:
            own.append(("user", caller.user_id))
        return await self.list_budgets(BudgetFilter(scopes=tuple(own)), "created_at", paging)

    async def list_changes(self, budget_id: str, paging: Paging) -> Page[ChangeRecord]:
        """Return a page of a budget's history; raises NotFound."""
        async with self._db.transaction() as tx:
            await self._get(tx, budget_id)
            after = None if paging.after is None else int(paging.after)
            return Page.of(await repository.list_changes(tx, budget_id, paging, after), paging.limit)

    async def list_windows(self, budget_id: str, paging: Paging) -> Page[WindowRecord]:
        """Return a page of the windows in which anything happened; raises NotFound."""
        async with self._db.transaction() as tx:
            await self._get(tx, budget_id)
            after = None if paging.after is None else int(paging.after)
            return Page.of(await repository.list_windows(tx, budget_id, paging, after), paging.limit)

    async def _check_scope(self, new: NewBudget) -> None:
        if new.scope == "organization":
            if new.scope_id is not None:
                raise InvalidRequest(
                    "Invalid value for 'scope_id': a budget of the organization has none.", param="scope_id"
                )
            return
        if new.scope_id is None:
            raise MissingParameter("scope_id")
        exists = self._exists.get(new.scope)
        if exists is not None and not await exists(new.scope_id):
            raise NotFound(f"There is no {new.scope} with this 'scope_id'.", param="scope_id")

    async def _create(self, tx: Transaction, new: NewBudget, changed_by: str) -> BudgetRecord:
        if await repository.count_in_force(tx, new.scope, new.scope_id) >= IN_FORCE_MAX:
            raise InvalidRequest(
                f"There are {IN_FORCE_MAX} budgets in force for this scope already: archive one first.",
                param="scope_id" if new.scope_id else "scope",
            )
        budget_id = new_id("bud")
        after = dict(shown(name, value) for name, value in new._asdict().items())
        # First, as the log may have to be waited for, and from the next line on calls wait for this transaction.
        await audit(tx, "budget.created", budget_id, project_id=_project_of(new), details={"data": after})
        await opening_repository.stop_reservations(tx)
        now = await repository.get_moment(tx)
        record = new.made(budget_id, now)
        await repository.create_budget(tx, record)
        await repository.create_change(tx, record.id, changed_by, "created", (None, after))
        await self._openings.begin(tx, record)
        return record

    async def _opened(self, record: BudgetRecord) -> Standing:
        """Return how a budget stands, once what was spent before it was made is counted."""
        standing = await self.get(record.id)
        await self._openings.count(standing.record, standing.window)
        return await self.get(record.id)

    async def _change(self, budget_id: str, kind: ChangeKind, edit: Edit, editor: Editor) -> Standing:
        async with self._db.transaction() as tx:
            await repository.count_up_version(tx)
            record = await self._get_for_change(tx, budget_id, editor)
            columns = edit(record, await repository.get_moment(tx))
            record = await self._write(tx, record, kind, columns, editor.key_id)
            return (await self._stand(tx, [record]))[0]

    async def _write(
        self, tx: Transaction, record: BudgetRecord, kind: ChangeKind, columns: Mapping[str, Any], changed_by: str
    ) -> BudgetRecord:
        """Set what is different in *columns*, with a line in the history; where nothing is, nothing happens."""
        changed = {name: value for name, value in columns.items() if getattr(record, name) != value}
        if not changed:
            return record
        written = await repository.update_budget(tx, record.id, changed)
        before, after = (dict(shown(name, getattr(each, name)) for name in changed) for each in (record, written))
        await self._write_down(tx, written, kind, changed_by, (before, after))
        return written

    async def _write_down(
        self,
        tx: Transaction,
        record: BudgetRecord,
        kind: ChangeKind,
        changed_by: str,
        change: tuple[dict[str, Any], dict[str, Any]],
    ) -> None:
        """Add a change, as it was before and after, to the budget's history, and that it happened to the audit log."""
        await repository.create_change(tx, record.id, changed_by, kind, change)
        details = {"name": record.name, "changes_requested": change[1]}
        await audit(tx, f"budget.{kind}", record.id, project_id=_project_of(record), details=details)

    async def _get(self, tx: Transaction, budget_id: str) -> BudgetRecord:
        record = await repository.find_budget(tx, budget_id)
        if record is None:
            raise NotFound("There is no budget with this id.", param="budget_id")
        return record

    async def _get_for_change(self, tx: Transaction, budget_id: str, editor: Editor) -> BudgetRecord:
        record = await self._get(tx, budget_id)
        require_version(editor.if_match, record.version, "budget")
        if record.archived_at is not None:
            raise InvalidRequest("The budget is archived: it cannot be changed any more.", param="budget_id")
        return record

    async def _stand(self, tx: Transaction, records: Sequence[BudgetRecord]) -> list[Standing]:
        """Return each budget with its current window, an empty one where nothing has happened yet."""
        now = await repository.get_moment(tx)
        spans = {record.id: record.window_at(now) for record in records}
        windows = await repository.find_windows(tx, spans.items())
        return [
            Standing(record, windows.get(record.id) or WindowRecord.empty(record.id, spans[record.id]))
            for record in records
        ]


def _project_of(budget: NewBudget | BudgetRecord) -> str | None:
    return budget.scope_id if budget.scope == "project" else None
