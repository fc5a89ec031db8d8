"""What orchestrators and scrapers ask for."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.deps import HealthDep
from app.health.schemas import CheckResult, Liveness, Readiness
from app.observability.metrics import Metrics, render_metrics

router = APIRouter(tags=["Operations"])


@router.get("/healthz", summary="Is the process alive?")
async def get_liveness() -> Liveness:
    """Answer without asking anything else: a process whose database is away must not be restarted for it."""
    return Liveness()


@router.get("/readyz", summary="Can calls be served?", responses={503: {"model": Readiness}})
async def get_readiness(response: Response, health: HealthDep) -> Readiness:
    """Check database, Redis, schema, and whether the process is stopping; 503 when calls cannot be served."""
    status, checks = await health.readiness()
    response.status_code = 503 if status == "unavailable" else 200
    results = {check.name: CheckResult(ok=check.is_ok, reason=check.reason) for check in checks}
    return Readiness(status=status, checks=results)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format, of all workers."}},
)
async def get_metrics(request: Request) -> Response:
    """Return the metrics of every worker of this server; in a thread, as it may read many files."""
    metrics: Metrics = request.app.state.wiring.metrics
    metrics.count_finished()
    body, content_type = await run_in_threadpool(render_metrics, metrics.registry)
    return Response(body, media_type=content_type)
