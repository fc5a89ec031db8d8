"""Whether a project's answers are cached, for those who manage it."""

from fastapi import APIRouter, Response

from app.answers.policy import CachePolicy
from app.answers.schemas import ProjectCache, ProjectCacheBody, ProjectCacheDeleted
from app.core.version_tags import record_tag
from app.deps import CachePoliciesDep, IfMatch, ProjectId
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/gateway/projects/{project_id}/cache", tags=["Caching"], route_class=ConditionalRoute)


@router.get("", summary="Whether a project's answers are cached")
async def get_project_cache(project_id: ProjectId, response: Response, policies: CachePoliciesDep) -> ProjectCache:
    """Return what was said of the project."""
    return _shown(await policies.get(project_id), response)


@router.put("", summary="Cache a project's answers, or never")
async def update_project_cache(
    project_id: ProjectId,
    body: ProjectCacheBody,
    response: Response,
    policies: CachePoliciesDep,
    if_match: IfMatch = None,
) -> ProjectCache:
    """Cache answers to calls that have the same answer each time, or to none, not even those that ask for it."""
    return _shown(await policies.update(project_id, body.policy(), if_match), response)


@router.delete("", summary="Leave caching to each call")
async def delete_project_cache(
    project_id: ProjectId, policies: CachePoliciesDep, if_match: IfMatch = None
) -> ProjectCacheDeleted:
    """Forget what was said of the project; what is cached stays for as long as it was to."""
    await policies.delete(project_id, if_match)
    return ProjectCacheDeleted()


def _shown(policy: CachePolicy, response: Response) -> ProjectCache:
    response.headers["etag"] = record_tag(policy)
    return ProjectCache.of(policy)
