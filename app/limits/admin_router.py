"""Limits for those who manage them. Changes may name the version that they are meant for (If-Match, RFC 9110)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import version_tag
from app.core.wire import Deleted
from app.deps import IfMatch, LimitAdminDep
from app.limits.record import LimitRecord
from app.limits.schemas import Limit, LimitCreation, LimitList, LimitsQuery, LimitUpdate, Text
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/gateway/limits", tags=["Limits"], route_class=ConditionalRoute)

LimitId = Annotated[Text, Path(description="As in the refusal of a call.")]


@router.post("", summary="Make a limit")
async def create_limit(new: LimitCreation, response: Response, limits: LimitAdminDep) -> Limit:
    """Limit how fast a scope may use something, from now on, in every process within a second."""
    return _answer(await limits.create(new.new_limit()), response)


@router.get("", summary="List limits")
async def list_limits(query: Annotated[LimitsQuery, Query()], limits: LimitAdminDep) -> LimitList:
    """Return the limits, those behind OpenAI's rate limits of projects among them."""
    return LimitList.of(await limits.list_limits(query.filter(), query.sort, query.paging()))


@router.get("/{limit_id}", summary="One limit")
async def get_limit(limit_id: LimitId, response: Response, limits: LimitAdminDep) -> Limit:
    """Return a limit."""
    return _answer(await limits.get(limit_id), response)


@router.patch("/{limit_id}", summary="Change a limit")
async def update_limit(
    limit_id: LimitId, update: LimitUpdate, response: Response, limits: LimitAdminDep, if_match: IfMatch = None
) -> Limit:
    """Change name, maximum or mode; what was counted so far goes on counting."""
    return _answer(await limits.update(limit_id, update.model_dump(exclude_unset=True), if_match), response)


@router.delete("/{limit_id}", summary="Delete a limit")
async def delete_limit(limit_id: LimitId, limits: LimitAdminDep, if_match: IfMatch = None) -> Deleted:
    """Delete a limit for good."""
    await limits.delete(limit_id, if_match)
    return Deleted(id=limit_id, object="weir.limit.deleted")


def _answer(record: LimitRecord, response: Response) -> Limit:
    response.headers["etag"] = version_tag(record.version)
    return Limit.of(record)
