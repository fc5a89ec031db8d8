"""What it cost: in the shape of OpenAI's costs API, and as CSV; for admin keys."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.deps import BillDep
from app.ledger.costs_schemas import CSV_EXAMPLE, CostsCsvQuery, CostsPage, CostsQuery, CostsResult
from app.ledger.usage_router import BracketsRoute

router = APIRouter(route_class=BracketsRoute, tags=["Usage and costs"])


@router.get("/organization/costs", summary="Costs")
async def get_costs(query: Annotated[CostsQuery, Query()], bill: BillDep) -> CostsPage:
    """Return dollars in buckets of a day; `amount.exact` adds up to the ledger to the last nano-dollar."""
    return CostsPage.of(await bill.get_page(query.asked(), query.page, query.buckets_max), CostsResult.of)


@router.get(
    "/gateway/costs.csv",
    summary="Costs as CSV",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}, "example": CSV_EXAMPLE}}}},
)
async def export_costs(query: Annotated[CostsCsvQuery, Query()], bill: BillDep) -> StreamingResponse:
    """Return a row per day, project, user, key, model and service tier, however many they are.

    Text that a spreadsheet would take for a formula has an apostrophe in front.
    """
    return StreamingResponse(
        await bill.export_costs(query.begin, query.end),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="weir-costs-from-{query.start_date}.csv"'},
    )
