"""OpenAI's rate limits of projects. A project's people may read them; only the organization's admins set them.

Whoever could raise a limit of their own project would have none.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.deps import IfMatch, ProjectId, RateLimitsDep
from app.limits.project_schemas import Id, RateLimit, RateLimitList, RateLimitsQuery, RateLimitUpdate
from app.observability.conditional import ConditionalRoute

read_router = APIRouter(
    prefix="/organization/projects/{project_id}/rate_limits", tags=["Limits"], route_class=ConditionalRoute
)
router = APIRouter(prefix="/organization/projects/{project_id}/rate_limits", tags=["Limits"])

RateLimitId = Annotated[Id, Path(description="`rl-` and the model, or a pattern of models; `rl-*` for all together.")]


@read_router.get("", summary="A project's rate limits", response_model_exclude_none=True)
async def list_rate_limits(
    project_id: ProjectId, query: Annotated[RateLimitsQuery, Query()], limits: RateLimitsDep
) -> RateLimitList:
    """Return what holds for all models together, then model by model: every model with a price or with a limit."""
    return RateLimitList.of(await limits.list_rate_limits(project_id, query.after, query.before, query.limit))


@router.post("/{rate_limit_id:path}", summary="Set a project's rate limit", response_model_exclude_none=True)
async def update_rate_limit(
    project_id: ProjectId,
    rate_limit_id: RateLimitId,
    update: RateLimitUpdate,
    response: Response,
    limits: RateLimitsDep,
    if_match: IfMatch = None,
) -> RateLimit:
    """Limit how fast a project may call a model, from now on; `/v1/gateway/limits` can limit more than this."""
    limit = await limits.update(project_id, rate_limit_id, update.model_dump(exclude_none=True), if_match)
    response.headers["etag"] = limit.tag
    return RateLimit.of(limit)
