"""Receipts: what one call used, cost, and how it ended."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.deps import CallerDep, LedgerDep
from app.ledger.attempt_schemas import CallReceipt
from app.ledger.receipt_schemas import ReceiptsQuery
from app.ledger.schemas import ReceiptList
from app.observability.conditional import ConditionalRoute

router = APIRouter(tags=["Receipts"], route_class=ConditionalRoute)

RequestId = Annotated[
    str, Path(max_length=128, pattern=r"^[^\x00]*$", description="The `x-request-id` of the call's answer.")
]


@router.get("/requests", summary="The receipts of calls")
async def list_receipts(query: Annotated[ReceiptsQuery, Query()], caller: CallerDep, ledger: LedgerDep) -> ReceiptList:
    """Return receipts of the caller's own project in the order in which the calls arrived, the newest first.

    An admin key sees the calls of every project. A call that was sent twice, as its first attempt failed, has a
    receipt for each attempt, with the same `id`.
    """
    return ReceiptList.of(await ledger.list_receipts(caller, query.asked()))


@router.get("/requests/{request_id}", summary="The receipt of one call")
async def get_receipt(request_id: RequestId, caller: CallerDep, ledger: LedgerDep) -> CallReceipt:
    """Return the model, tokens, exact cost, upstream, timings and ending of one call of the caller's own project.

    Of a call that was sent more than once they are those of its last attempt; `attempts` has all of them. An admin key
    sees the calls of every project.
    """
    return CallReceipt.of_call(await ledger.get_attempts(caller, request_id))
