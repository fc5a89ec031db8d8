"""The models that callers may name, as the upstreams list them: every field of theirs, valid or not."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Request, Response

from app.deps import CallerDep, UpstreamsDep
from app.observability.context import call_context
from app.upstreams.schemas import Model, ModelList

_UPSTREAM_FAILED: Final[dict[int | str, dict[str, Any]]] = {
    502: {"description": "The upstream failed; `code` says how."},
    504: {"description": "The upstream did not answer in time."},
}

router = APIRouter(tags=["Models"], responses=_UPSTREAM_FAILED)


@router.get("/models", summary="List models", response_model=ModelList)
async def list_models(request: Request, caller: CallerDep, upstreams: UpstreamsDep) -> Response:
    """Return the models of every upstream that answers, as far as the caller may call them."""
    models = await upstreams.list_models(caller, request.headers.raw, call_context(request.scope))
    return _json({"object": "list", "data": models})


@router.get("/models/{model:path}", summary="One model", response_model=Model)
async def get_model(
    request: Request, model: Annotated[str, Path(max_length=256)], caller: CallerDep, upstreams: UpstreamsDep
) -> Response:
    """Return one model; its name may hold slashes and colons."""
    return _json(await upstreams.get_model(caller, model, request.headers.raw, call_context(request.scope)))


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
