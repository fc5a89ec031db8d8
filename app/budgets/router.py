"""The budgets that the caller's own calls count in; to be read only."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.budgets.history_schemas import BudgetList
from app.core.wire import ListQuery
from app.deps import BudgetAdminDep, CallerDep
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/gateway/my", tags=["Budgets"], route_class=ConditionalRoute)


@router.get("/budgets", summary="My budgets")
async def list_own_budgets(
    query: Annotated[ListQuery, Query()], budgets: BudgetAdminDep, caller: CallerDep
) -> BudgetList:
    """Return the budgets of the organization and of the caller's project, user and key, and how they stand."""
    return BudgetList.of(await budgets.list_own(caller, query.paging()))
