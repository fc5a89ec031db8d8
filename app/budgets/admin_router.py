"""Budgets for those who manage them. Changes may name the version that they are meant for (If-Match, RFC 9110)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.budgets.history_schemas import (
    BudgetChangeList,
    BudgetList,
    ChangesQuery,
    PastWindowList,
    WindowsQuery,
)
from app.budgets.record import Editor, Standing
from app.budgets.schemas import Budget, BudgetCreation, BudgetsQuery, BudgetUpdate, Text, TopUp
from app.core.version_tags import answer_tag
from app.core.wire import Deleted
from app.deps import BudgetAdminDep, CallerDep, IfMatch
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/gateway/budgets", tags=["Budgets"], route_class=ConditionalRoute)

BudgetId = Annotated[Text, Path(description="As in the refusal of a call.")]


@router.post("", summary="Make a budget")
async def create_budget(new: BudgetCreation, response: Response, budgets: BudgetAdminDep, admin: CallerDep) -> Budget:
    """Limit what a scope may spend in each window, from now on.

    Day, week and month count from their beginning, so what was spent in the current one is counted at once.
    """
    return _answer(await budgets.create(new.new_budget(), admin.key_id), response)


@router.get("", summary="List budgets")
async def list_budgets(query: Annotated[BudgetsQuery, Query()], budgets: BudgetAdminDep) -> BudgetList:
    """Return the budgets in force, or the archived ones, each with its current window."""
    return BudgetList.of(await budgets.list_budgets(query.filter(), query.sort, query.paging()))


@router.get("/{budget_id}", summary="One budget")
async def get_budget(budget_id: BudgetId, response: Response, budgets: BudgetAdminDep) -> Budget:
    """Return a budget and how its current window stands."""
    return _answer(await budgets.get(budget_id), response)


@router.patch("/{budget_id}", summary="Change a budget")
async def update_budget(
    budget_id: BudgetId,
    update: BudgetUpdate,
    response: Response,
    budgets: BudgetAdminDep,
    admin: CallerDep,
    if_match: IfMatch = None,
) -> Budget:
    """Change name, limit or mode; every replica heeds it from the next call on."""
    return _answer(await budgets.update(budget_id, update.columns(), Editor(admin.key_id, if_match)), response)


@router.delete("/{budget_id}", summary="Archive a budget")
async def archive_budget(
    budget_id: BudgetId, budgets: BudgetAdminDep, admin: CallerDep, if_match: IfMatch = None
) -> Deleted:
    """End a budget for good. It can still be read, with its windows and its history."""
    archived = await budgets.archive(budget_id, Editor(admin.key_id, if_match))
    return Deleted(id=archived.record.id, object="weir.budget.deleted")


@router.post("/{budget_id}/pause", summary="Pause a budget")
async def pause_budget(
    budget_id: BudgetId, response: Response, budgets: BudgetAdminDep, admin: CallerDep, if_match: IfMatch = None
) -> Budget:
    """Let a budget refuse nothing until it is resumed; it goes on counting."""
    return _answer(await budgets.pause(budget_id, Editor(admin.key_id, if_match)), response)


@router.post("/{budget_id}/resume", summary="Resume a budget")
async def resume_budget(
    budget_id: BudgetId, response: Response, budgets: BudgetAdminDep, admin: CallerDep, if_match: IfMatch = None
) -> Budget:
    """Let a paused budget refuse again; what was spent meanwhile counts."""
    return _answer(await budgets.resume(budget_id, Editor(admin.key_id, if_match)), response)


@router.post("/{budget_id}/top_up", summary="Top up the current window")
async def top_up_budget(
    budget_id: BudgetId,
    top_up: TopUp,
    response: Response,
    budgets: BudgetAdminDep,
    admin: CallerDep,
    if_match: IfMatch = None,
) -> Budget:
    """Add to the limit of the current window; the next one begins with the limit as it is."""
    editor = Editor(admin.key_id, if_match)
    return _answer(await budgets.top_up(budget_id, top_up.nano, editor), response)


@router.get("/{budget_id}/history", summary="Who changed a budget")
async def list_changes(
    budget_id: BudgetId, query: Annotated[ChangesQuery, Query()], budgets: BudgetAdminDep
) -> BudgetChangeList:
    """Return who changed what and when, also of an archived budget."""
    return BudgetChangeList.of(await budgets.list_changes(budget_id, query.paging()))


@router.get("/{budget_id}/windows", summary="Windows of a budget")
async def list_windows(
    budget_id: BudgetId, query: Annotated[WindowsQuery, Query()], budgets: BudgetAdminDep
) -> PastWindowList:
    """Return the current and the past windows in which anything happened."""
    return PastWindowList.of(await budgets.list_windows(budget_id, query.paging()))


def _answer(standing: Standing, response: Response) -> Budget:
    budget = Budget.of(standing)
    response.headers["etag"] = answer_tag(standing.record.version, budget.model_dump_json())
    return budget
