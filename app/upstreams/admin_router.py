"""Upstreams for those who manage them. Changes may name the version that they are meant for (If-Match, RFC 9110)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.pagination import Page
from app.core.version_tags import version_tag
from app.core.wire import Deleted, Id
from app.deps import IfMatch, UpstreamAdminDep
from app.upstreams.admin_schemas import (
    Upstream,
    UpstreamCreation,
    UpstreamList,
    UpstreamsQuery,
    UpstreamTest,
    UpstreamUpdate,
)
from app.upstreams.admin_service import UpstreamAdminService
from app.upstreams.record import UpstreamRecord

router = APIRouter(prefix="/gateway/upstreams", tags=["Upstreams"])

UpstreamId = Annotated[Id, Path(description="As the list shows it.")]


@router.post("", summary="Add an upstream")
async def create_upstream(new: UpstreamCreation, response: Response, upstreams: UpstreamAdminDep) -> Upstream:
    """Test an upstream, and send calls there from now on, from every process within a second."""
    config, api_key = new.new()
    return _answer(await upstreams.create(config, api_key, test=new.test), response, upstreams)


@router.get("", summary="List upstreams")
async def list_upstreams(query: Annotated[UpstreamsQuery, Query()], upstreams: UpstreamAdminDep) -> UpstreamList:
    """Return the upstreams; the one from the environment is not among them."""
    page = await upstreams.list_upstreams(query.sort, query.paging())
    shown = [Upstream.of(record, upstreams.state(record)) for record in page.items]
    return UpstreamList.of(Page(shown, page.has_more))


@router.get("/{upstream_id}", summary="One upstream")
async def get_upstream(upstream_id: UpstreamId, response: Response, upstreams: UpstreamAdminDep) -> Upstream:
    """Return an upstream, without its credential."""
    return _answer(await upstreams.get(upstream_id), response, upstreams)


@router.patch("/{upstream_id}", summary="Change an upstream")
async def update_upstream(
    upstream_id: UpstreamId,
    update: UpstreamUpdate,
    response: Response,
    upstreams: UpstreamAdminDep,
    if_match: IfMatch = None,
) -> Upstream:
    """Change everything but its name; it is tested when its address or credential is another one, or it is enabled."""
    record = await upstreams.update(upstream_id, update.given(), test=update.test, if_match=if_match)
    return _answer(record, response, upstreams)


@router.delete("/{upstream_id}", summary="Delete an upstream")
async def delete_upstream(upstream_id: UpstreamId, upstreams: UpstreamAdminDep, if_match: IfMatch = None) -> Deleted:
    """Delete an upstream for good; calls that are under way there end as they would."""
    await upstreams.delete(upstream_id, if_match)
    return Deleted(id=upstream_id, object="weir.upstream.deleted")


@router.post("/{upstream_id}/test", summary="Test an upstream")
async def test_upstream(upstream_id: UpstreamId, upstreams: UpstreamAdminDep) -> UpstreamTest:
    """Ask it for its models now, also when it is disabled."""
    return UpstreamTest.of(upstream_id, await upstreams.try_out(upstream_id))


def _answer(record: UpstreamRecord, response: Response, upstreams: UpstreamAdminService) -> Upstream:
    response.headers["etag"] = version_tag(record.version)
    return Upstream.of(record, upstreams.state(record))
