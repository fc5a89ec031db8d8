"""`weir doctor`: looks at everything Weir needs and says what to do about what is wrong."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from multidict import CIMultiDict
from yarl import URL

from app.budgets.check_service import CheckService
from app.core import schema
from app.core.clock import utc_now
from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.core.redis import Redis
from app.first_run import open_database
from app.ledger.rollup_service import RollupService
from app.observability.metrics import Metrics
from app.settings import Settings
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.routing import Timeouts

_UNAUTHORIZED: Final = 401
_IMPATIENT: Final = Timeouts(5, 10, 10, 15)
"""Whoever runs the doctor waits for it."""


class Finding(NamedTuple):
    """One thing that was looked at; `advice` says what to do when it is not ok."""

    name: str
    is_ok: bool
    detail: str
    advice: str = ""


async def examine(settings: Settings, *, migrates_on_start: bool) -> AsyncIterator[Finding]:
    """Yield a finding for the database, what is in it, Redis and the upstream, each as soon as it is known."""
    db = open_database(settings)
    try:
        await db.ping()
        yield Finding("database", is_ok=True, detail="answers")
        schema_found = await _schema(db, migrates_on_start=migrates_on_start)
        yield schema_found
        if schema_found.is_ok and await schema.current_revision(db) is not None:
            checker = CheckService(db, RollupService(db, settings.ledger), Metrics(), settings.budgets, utc_now)
            yield await _books(checker)
            yield await _zones(checker)
    except DatabaseUnavailable as error:
        advice = "Is PostgreSQL running, and is WEIR_DATABASE_URL right (address, user, password, database)?"
        yield Finding("database", is_ok=False, detail=error.reason, advice=advice)
    finally:
        await db.close()
    yield await _redis(settings)
    yield await _upstream(settings)


async def _schema(db: Database, *, migrates_on_start: bool) -> Finding:
    if migrates_on_start and await schema.current_revision(db) is None:
        return Finding("schema", is_ok=True, detail="not there yet: the first start makes it")
    try:
        await schema.check(db)
    except schema.SchemaError as error:
        detail, _, advice = str(error).partition(": ")
        return Finding("schema", is_ok=False, detail=detail, advice=advice)
    return Finding("schema", is_ok=True, detail=f"at {schema.needed_revision()}")


async def _books(checker: CheckService) -> Finding:
    books = await checker.check()
    if books is None:
        return Finding("books", is_ok=True, detail="are being checked by a running Weir")
    if not books.difference_count:
        return Finding("books", is_ok=True, detail="add up: budgets, open reservations and totals are the ledger's")
    first = next(iter((*map(str, books.windows), *books.rollups)))
    advice = "Has somebody changed rows by hand? The log line `books_do_not_add_up` has all."
    if books.rollups and not books.windows:
        advice = "`weir rollups rebuild --day <day>` makes the totals of a day anew; the ledger itself is not in doubt."
    return Finding("books", is_ok=False, detail=f"{books.difference_count} differences, such as {first}", advice=advice)


async def _zones(checker: CheckService) -> Finding:
    unknown = await checker.find_unknown_zones()
    if not unknown:
        return Finding("zones", is_ok=True, detail="the time zones of all budgets are known")
    advice = "Update the machine's time zones (tzdata): every call under a budget in one of these is answered 503."
    return Finding("zones", is_ok=False, detail=f"not known here: {', '.join(unknown)}", advice=advice)


async def _redis(settings: Settings) -> Finding:
    assert settings.redis_url is not None, "set by cli.py"  # noqa: S101 - narrows the type
    health = Dependency("redis")
    try:
        redis = Redis(settings.redis_url.get_secret_value(), settings.redis, health)
    except ValueError as error:
        return Finding("redis", is_ok=False, detail=str(error), advice="Correct it: Weir does not start with it.")
    try:
        await redis.ping()
    finally:
        await redis.close()
    if health.is_up:
        return Finding("redis", is_ok=True, detail="answers")
    advice = "Is Redis running, and is WEIR_REDIS_URL right (address, password)? Until then limits are looser."
    return Finding("redis", is_ok=False, detail=str(health.reason), advice=advice)


async def _upstream(settings: Settings) -> Finding:
    if settings.openai_api_key is None:
        detail = "no OPENAI_API_KEY: only the built-in simulator's models (sim-*) answer"
        return Finding("upstream", is_ok=True, detail=detail)
    host = urlsplit(settings.openai_base_url).hostname
    client = UpstreamClient(settings.upstream)
    headers = CIMultiDict({"authorization": f"Bearer {settings.openai_api_key.get_secret_value()}"})
    try:
        url = URL(f"{settings.openai_base_url}/models")
        with await client.send("GET", url, headers, None, _IMPATIENT) as answer:
            status = answer.status
    except UpstreamFailed as failure:
        advice = "Is OPENAI_BASE_URL right, and may this machine reach it?"
        return Finding("upstream", is_ok=False, detail=f"{host}: {failure.reason}", advice=advice)
    finally:
        await client.close()
    if status == _UNAUTHORIZED:
        return Finding("upstream", is_ok=False, detail=f"{host} answers 401", advice="Is OPENAI_API_KEY right?")
    is_ok = status < 400
    return Finding("upstream", is_ok=is_ok, detail=f"{host} answers {status}", advice="Is OPENAI_BASE_URL right?")
