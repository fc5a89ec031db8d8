"""Receipts: what one call used, cost, and how it ended."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.deps import CallerDep, LedgerDep
from app.ledger.schemas import Receipt

router = APIRouter(tags=["Receipts"])

RequestId = Annotated[str, Path(max_length=128, description="The `x-request-id` of the call's answer.")]


@router.get("/requests/{request_id}", summary="The receipt of one call")
async def get_receipt(request_id: RequestId, caller: CallerDep, ledger: LedgerDep) -> Receipt:
    """Return the model, tokens, exact cost, upstream, timings and ending of one call of the caller's own project.

    An admin key sees the calls of every project.
    """
    return Receipt.of(await ledger.get_receipt(caller, request_id))
