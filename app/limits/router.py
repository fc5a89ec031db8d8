"""The limits that the caller's own calls count in; to be read only."""

from fastapi import APIRouter

from app.deps import CallerDep, LimitsDep
from app.limits.lease import Charge
from app.limits.payer import payer_of
from app.limits.schemas import OwnLimits

router = APIRouter(prefix="/gateway/my", tags=["Limits"])


@router.get("/limits", summary="My limits")
async def list_own_limits(limits: LimitsDep, caller: CallerDep) -> OwnLimits:
    """Return the limits of the organization and of the caller's project, user and key, and how they stand.

    Looking counts nothing. While Redis is away, it is the share of the process that answers.
    """
    charges = [Charge(limit, key, 0) for limit, key in limits.of(payer_of(caller))]
    return OwnLimits.of(charges, (await limits.look(charges)).standings)
