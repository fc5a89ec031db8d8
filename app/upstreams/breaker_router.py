"""Circuit breakers for those who operate Weir."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.core.wire import Id
from app.deps import BreakersDep
from app.upstreams.breaker_schemas import Breaker, BreakerList, BreakerUpdate

router = APIRouter(prefix="/gateway/upstreams", tags=["Upstreams"])

UpstreamName = Annotated[Id, Path(description="The upstream's name or id.")]


@router.get("/breakers", summary="List circuit breakers")
async def list_all_breakers(breakers: BreakersDep) -> BreakerList:
    """Return the breakers of every upstream that this process has sent calls to."""
    return BreakerList(data=[Breaker.of(breaker) for breaker in breakers.list_breakers()])


@router.get("/{upstream}/breakers", summary="List an upstream's circuit breakers")
async def list_breakers(upstream: UpstreamName, breakers: BreakersDep) -> BreakerList:
    """Return the breakers of one upstream."""
    return BreakerList(data=[Breaker.of(breaker) for breaker in breakers.list_breakers(upstream)])


@router.post("/{upstream}/breakers/{model:path}", summary="Hold a circuit breaker open or closed")
async def force_breaker(
    upstream: UpstreamName,
    model: Annotated[Id, Path(description="As callers name it.")],
    update: BreakerUpdate,
    breakers: BreakersDep,
) -> Breaker:
    """Hold it so in every process within a second, until `auto` lets it be by itself again."""
    return Breaker.of(await breakers.force(upstream, model, update.state))
