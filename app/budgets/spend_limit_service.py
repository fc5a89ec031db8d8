"""The spend limit of the organization, or of a project, as a view of one monthly budget in UTC, found by its name."""

from app.budgets.admin_service import BudgetAdminService, Exists
from app.budgets.budget import Scope
from app.budgets.record import NANO_PER_CENT, SPEND_LIMIT, BudgetRecord, Editor, NewBudget
from app.core.money import Nano
from app.errors import NotFound


class SpendLimitService:
    """*project_id* is None for the organization; an unknown one raises NotFound."""

    def __init__(self, budgets: BudgetAdminService, is_project: Exists) -> None:
        self._budgets = budgets
        self._is_project = is_project

    async def get(self, project_id: str | None) -> BudgetRecord:
        """Return the budget behind the limit; raises NotFound when there is none."""
        scope = await self._scope(project_id)
        record = await self._budgets.find_in_force(SPEND_LIMIT, scope, project_id)
        if record is None:
            raise NotFound(f"There is no spend limit for this {scope}.")
        return record

    async def update(self, project_id: str | None, threshold_cents: int, editor: Editor) -> BudgetRecord:
        """Make the limit, or replace it: it enforces from now on, even if its budget was paused.

        Raises PreconditionFailed.
        """
        new = NewBudget(
            name=SPEND_LIMIT,
            scope=await self._scope(project_id),
            scope_id=project_id,
            model=None,
            period="month",
            time_zone="UTC",
            limit_nano=Nano(threshold_cents * NANO_PER_CENT),
            mode="enforcing",
        )
        return (await self._budgets.create_or_update(new, editor)).record

    async def delete(self, project_id: str | None, editor: Editor) -> None:
        """Archive the budget behind the limit; raises NotFound when there is none, PreconditionFailed."""
        await self._budgets.archive((await self.get(project_id)).id, editor)

    async def _scope(self, project_id: str | None) -> Scope:
        if project_id is None:
            return "organization"
        if not await self._is_project(project_id):
            raise NotFound("There is no project with this id.", param="project_id")
        return "project"
