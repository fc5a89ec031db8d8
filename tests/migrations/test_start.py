"""Weir starts on the schema that it knows, on no other, and changes an external one only when it was told to."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.core import schema
from app.core.db import Database
from app.first_run import prepare
from app.observability.metrics import Metrics
from app.observability.tracing import build_tracer
from app.setting_groups import Tracing
from app.settings import Settings
from app.wiring import wire
from tests.embedded.probes import fetch
from tests.fixtures.ports import free_port
from tests.fixtures.servers import PEPPER


def url_of(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


def serve(settings: Settings, **changes: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "WEIR_DATABASE_URL": url_of(settings.database_url),
        "WEIR_REDIS_URL": url_of(settings.redis_url),
        "WEIR_KEYS__PEPPER": PEPPER,
        "WEIR_SERVER__PORT": str(free_port()),
        **changes,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def refusal(settings: Settings, **changes: str) -> str:
    """Return what `weir serve` says when it does not start."""
    process = serve(settings, **changes)
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in said
    return said


async def test_a_database_without_a_schema_is_refused_with_the_advice_to_migrate(empty_settings: Settings) -> None:
    said = await asyncio.to_thread(refusal, empty_settings)

    assert f"the database schema is at nothing, this Weir needs {schema.needed_revision()}" in said
    assert "run `weir migrate`, or set WEIR_MIGRATE_ON_START=true" in said
    assert fetch(url_of(empty_settings.database_url), "SELECT to_regclass('projects')") is None


async def test_a_newer_schema_is_refused_even_when_weir_may_migrate(empty_settings: Settings, db: Database) -> None:
    await schema.migrate(db)
    await asyncio.to_thread(fetch, url_of(empty_settings.database_url), "UPDATE alembic_version SET version_num = '9'")

    with pytest.raises(schema.SchemaError, match="at 9, which this Weir does not know: it is newer; upgrade Weir"):
        await prepare(empty_settings, migrate=True)


async def test_weir_migrates_an_external_database_at_start_when_it_is_told_to(
    empty_settings: Settings, db: Database
) -> None:
    process = serve(empty_settings, WEIR_MIGRATE_ON_START="true")
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and '"started"' not in lines[-1]:
            lines.append(await asyncio.to_thread(process.stdout.readline))
        process.terminate()
        lines += (await asyncio.to_thread(process.communicate))[0].splitlines()
    finally:
        killer.cancel()
        process.kill()

    assert process.returncode == 0, lines
    assert await schema.is_current(db)
    assert any("wk-" in line for line in lines)


@pytest.mark.parametrize("migrates", [False, True])
async def test_a_schema_that_is_behind_is_migrated_only_when_allowed(
    empty_settings: Settings, db: Database, later: object, migrates: bool
) -> None:
    await schema.migrate(db, "0001")

    if migrates:
        with capture_logs() as lines:
            assert await prepare(empty_settings, migrate=True) is not None
        [line] = [line for line in lines if line["event"] == "schema_migrated"]
        assert (line["revision_before"], line["revision"]) == ("0001", "0002_later")
        assert await schema.current_revision(db) == "0002_later"
    else:
        with pytest.raises(schema.SchemaError, match="is at 0001, this Weir needs 0002_later: run `weir migrate`"):
            await prepare(empty_settings, migrate=False)
        assert await schema.current_revision(db) == "0001"


async def test_a_worker_process_checks_the_schema_by_itself_too(empty_settings: Settings) -> None:
    with pytest.raises(schema.SchemaError, match="is at nothing"):
        async with wire(empty_settings, Metrics(), build_tracer(Tracing())):
            pytest.fail("it started")
