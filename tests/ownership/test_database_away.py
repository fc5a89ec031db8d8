"""Who owns what while PostgreSQL is away: nobody gets at anything, and nothing that was made is forgotten."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from app.core.db import Database, DatabaseUnavailable
from app.core.health import Dependency
from app.gateway.custody_service import Custody
from app.gateway.stream import StoredObject
from app.gateway_settings import Gateway
from app.ownership import service
from app.ownership.service import OwnershipService
from app.ownership_errors import ObjectNotFound
from app.setting_groups import Database as DatabaseSettings
from app.upstreams.directory import Directory

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
async def away(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnershipService]:
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.05)
    db = Database(NOWHERE, DatabaseSettings(), Dependency("database"))
    ownership = OwnershipService(db, Gateway())
    yield ownership
    await ownership.close(0.01)
    await db.close()


async def test_nobody_gets_at_anything(away: OwnershipService) -> None:
    for asked in (away.find("proj_a", "resp_1"), away.owned("proj_a", ["resp_1"]), away.forget("proj_a", "resp_1")):
        with pytest.raises(DatabaseUnavailable):
            await asked


async def test_what_was_made_waits_a_while_and_is_named_in_the_log_when_weir_stops(away: OwnershipService) -> None:
    with pytest.raises(DatabaseUnavailable):
        await away.record("proj_a", "resp_1", "response", "openai")
    with capture_logs() as logs:
        await away.close(0.01)
    [line] = [line for line in logs if line["event"] == "object_not_recorded"]
    assert (line["project_id"], line["object_id"], line["upstream_name"]) == ("proj_a", "resp_1", "openai")


async def test_an_answer_that_was_paid_for_is_not_held_back_for_ever(away: OwnershipService) -> None:
    custody = Custody(away, Directory())
    with capture_logs() as logs:
        await custody.keep("proj_a", "openai", [StoredObject("resp_1", "response")])
        await custody.forget("proj_a", "resp_1")
        assert await custody.claim_sessions("proj_a", "openai", ["cntr_1"]) == set()
    events = [line["event"] for line in logs if line["event"] != "dependency_lost"]
    assert events == ["object_not_recorded_yet", "object_not_forgotten", "sessions_not_claimed"]


async def test_the_purge_waits_for_the_database(away: OwnershipService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PURGE_SECONDS", 0.0)
    purging = asyncio.create_task(away.keep_purged())
    done, _ = await asyncio.wait([purging], timeout=0.1)
    assert not done
    purging.cancel()


async def test_without_upstreams_there_is_nothing() -> None:
    db = Database(NOWHERE, DatabaseSettings(), Dependency("database"))
    custody = Custody(OwnershipService(db, Gateway(isolation="off")), Directory())
    with pytest.raises(DatabaseUnavailable):
        await custody.place_of("proj_a", "resp_1")
    with pytest.raises(ObjectNotFound):
        await custody.place_of("proj_a", "no id at all")
    await db.close()
