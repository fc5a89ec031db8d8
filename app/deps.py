"""What routes ask for, one annotated alias each. A service comes from the wiring; a caller from the request."""

from typing import Annotated

from fastapi import Depends, Request, Security

from app.health.service import HealthService
from app.keys.auth import authenticate, bearer_scheme
from app.keys.caller import Caller
from app.ledger.service import LedgerService
from app.upstreams.service import UpstreamService


async def _ledger(request: Request) -> LedgerService:
    ledger: LedgerService = request.app.state.wiring.ledger
    return ledger


async def _health(request: Request) -> HealthService:
    health: HealthService = request.app.state.wiring.health
    return health


async def _upstreams(request: Request) -> UpstreamService:
    upstreams: UpstreamService = request.app.state.wiring.upstreams
    return upstreams


shows_key_in_docs = Security(bearer_scheme)
"""Puts the lock and the Authorize button on a route in the API description."""

CallerDep = Annotated[Caller, Depends(authenticate)]
LedgerDep = Annotated[LedgerService, Depends(_ledger)]
HealthDep = Annotated[HealthService, Depends(_health)]
UpstreamsDep = Annotated[UpstreamService, Depends(_upstreams)]
