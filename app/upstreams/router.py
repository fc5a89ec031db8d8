"""The models that callers may name, as the upstreams list them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from app.deps import CallerDep, UpstreamsDep
from app.observability.context import call_context
from app.upstreams.schemas import Model, ModelList

router = APIRouter(tags=["Models"])


@router.get("/models", summary="List models", response_model=ModelList)
async def list_models(request: Request, _: CallerDep, upstreams: UpstreamsDep) -> dict[str, Any]:
    """Return the models of every upstream that answers."""
    return {"object": "list", "data": await upstreams.list_models(request.headers.raw, call_context(request.scope))}


@router.get("/models/{model:path}", summary="One model", response_model=Model)
async def get_model(
    request: Request, model: Annotated[str, Path(max_length=256)], _: CallerDep, upstreams: UpstreamsDep
) -> dict[str, Any]:
    """Return one model; its name may hold slashes and colons."""
    return await upstreams.get_model(model, request.headers.raw, call_context(request.scope))
