"""OpenAI's rate limits of a project: shown and set for one model at a time, stored as limits like all others."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from app.audit.service import record as audit
from app.core.db import Database, Transaction
from app.core.ids import new_id
from app.core.pagination import Page
from app.core.version_tags import require_meant
from app.errors import InvalidRequest, NotFound
from app.limits import repository
from app.limits.limit import Limit, LimitBook
from app.limits.project_limits import (
    ALL_MODELS,
    FIELDS,
    NO_LIMIT,
    ProjectRateLimit,
    find_model,
    models_of,
    pattern_of,
    rate_limit,
)
from app.limits.record import LimitRecord, NewLimit
from app.limits.service import LimitService

_MODEL_CHARACTERS_MAX = 256


class ProjectRateLimitService:
    """Every method raises NotFound for an unknown project, and DatabaseUnavailable."""

    def __init__(
        self,
        db: Database,
        limits: LimitService,
        is_project: Callable[[str], Awaitable[bool]],
        models: Callable[[], Iterable[str]],
    ) -> None:
        """*models* returns the models that are shown though nothing limits them."""
        self._db = db
        self._limits = limits
        self._is_project = is_project
        self._models = models

    async def list_rate_limits(
        self, project_id: str, after: str | None, before: str | None, limit: int
    ) -> Page[ProjectRateLimit]:
        """Return a page: all models together first, then model by model, whether they are limited or not.

        Raises InvalidRequest for an `after` or `before` that is no id of a rate limit.
        """
        await self._check(project_id)
        async with self._db.transaction() as tx:
            limits = await self._of_project(tx, project_id)
        models = sorted({*self._models(), *models_of(limits)} - {ALL_MODELS})
        names = [ALL_MODELS, *models]
        if after is not None:
            names = [name for name in names if _order(name) > _order(_model("after", after))]
        if before is not None:
            names = [name for name in names if _order(name) < _order(_model("before", before))]
        is_backwards = before is not None and after is None
        shown = names[-limit:] if is_backwards else names[:limit]
        return Page([rate_limit(name, limits) for name in shown], len(names) > limit)

    async def update(
        self, project_id: str, rate_limit_id: str, maxima: Mapping[str, int], if_match: str | None
    ) -> ProjectRateLimit:
        """Set some of a model's limits and return them all.

        Raises NotFound for what is no id of a rate limit, or PreconditionFailed for another state.
        """
        await self._check(project_id)
        model = find_model(rate_limit_id)
        if model is None or len(model) > _MODEL_CHARACTERS_MAX or not model.isprintable():
            raise NotFound("There is no rate limit with this id.", param="rate_limit_id")
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            require_meant(if_match, rate_limit(model, await self._of_project(tx, project_id)).facts)
            own = await repository.list_of_project(tx, project_id)
            for name, maximum in maxima.items():
                await _set(tx, project_id, own, pattern_of(model), name, maximum)
            details = {"changes_requested": dict(maxima)}
            await audit(tx, "rate_limit.updated", rate_limit_id, project_id=project_id, details=details)
            updated = rate_limit(model, await self._of_project(tx, project_id))
        await self._limits.load()
        return updated

    async def _check(self, project_id: str) -> None:
        if not await self._is_project(project_id):
            raise NotFound(f"There is no project '{project_id}'.", param="project_id")

    async def _of_project(self, tx: Transaction, project_id: str) -> list[Limit]:
        """Return what holds for a project: limits of its own, those for each project, and the defaults."""
        records = await repository.list_for_project(tx, project_id)
        book = LimitBook((record.limit for record in records), self._limits.defaults)
        return [limit for limit, _ in book.of_scope("project", project_id)]


async def _set(
    tx: Transaction, project_id: str, own: Iterable[LimitRecord], model: str | None, name: str, maximum: int
) -> None:
    counts, per = FIELDS[name]
    found = [
        record
        for record in own
        if (record.counts, record.per, record.model, record.mode) == (counts, per, model, "enforcing")
    ]
    if maximum >= NO_LIMIT:
        for record in found:
            await repository.delete_limit(tx, record.id)
    elif found:
        for record in found:
            await repository.update_limit(tx, record.id, {"maximum": maximum})
    else:
        new = NewLimit(name, "project", project_id, model, counts, per, maximum, "enforcing")
        await repository.create_limit(tx, new_id("lim"), new)


def _model(param: str, rate_limit_id: str) -> str:
    model = find_model(rate_limit_id)
    if model is None:
        raise InvalidRequest(f"Invalid value for '{param}': there is no such rate limit.", param=param)
    return model


def _order(model: str) -> tuple[bool, str]:
    return model != ALL_MODELS, model
