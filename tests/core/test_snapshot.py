"""What a process keeps in memory of the database is replaced when it expires, now and then, and never by older data."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from app.core import snapshot
from app.core.db import DatabaseUnavailable
from app.core.snapshot import Snapshot
from tests.fixtures.waiting import PATIENCE_SECONDS, until


class Copy(Snapshot):
    """Keeps a copy of `source`; a reading that was begun while the gate is shut ends when it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.source = 1
        self.known = 0
        self.readings = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def _load(self) -> None:
        self.readings += 1
        if self.failure is not None:
            raise self.failure
        read = self.source
        await self.gate.wait()
        self.known = read


@asynccontextmanager
async def kept_fresh(copy: Copy) -> AsyncIterator[None]:
    keeping = asyncio.create_task(copy.keep_fresh())
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def test_what_expired_is_loaded_anew() -> None:
    copy = Copy()
    async with kept_fresh(copy):
        copy.expire("proj_1")
        await until(lambda: copy.known == 1)
        copy.source = 2
        copy.expire("")
        await until(lambda: copy.known == 2)
    assert copy.readings == 2


async def test_what_expires_while_it_is_loaded_is_loaded_once_more() -> None:
    copy = Copy()
    copy.gate.clear()
    async with kept_fresh(copy):
        copy.expire("")
        await until(lambda: copy.readings == 1)
        copy.source = 2
        copy.expire("")
        copy.gate.set()
        await until(lambda: copy.known == 2)


async def test_a_change_that_nobody_told_is_found_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "REFRESH_SECONDS", 0.01)
    copy = Copy()
    async with kept_fresh(copy):
        await until(lambda: copy.known == 1)
        copy.source = 2
        await until(lambda: copy.known == 2)


async def test_an_older_reading_does_not_replace_a_newer_one() -> None:
    copy = Copy()
    copy.gate.clear()
    older = asyncio.create_task(copy.load())
    await until(lambda: copy.readings == 1)
    copy.source = 2
    newer = asyncio.create_task(copy.load())
    copy.gate.set()
    await asyncio.gather(older, newer)
    assert copy.known == 2


async def test_while_the_database_is_away_what_is_in_memory_is_used_and_later_replaced() -> None:
    copy = Copy()
    await copy.load()
    copy.source, copy.failure = 2, DatabaseUnavailable("it is away")
    with pytest.raises(DatabaseUnavailable):
        await copy.load()
    async with kept_fresh(copy):
        copy.expire("")
        await until(lambda: copy.readings == 3)
        assert copy.known == 1
        copy.failure = None
        copy.expire("")
        await until(lambda: copy.known == 2)


async def test_an_error_nobody_foresaw_is_not_hidden() -> None:
    copy = Copy()
    copy.failure = ValueError("nobody foresaw this")
    copy.expire("")
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(ValueError, match="nobody foresaw this"):
            await copy.keep_fresh()


async def test_what_could_not_be_read_is_read_at_once_when_reading_is_begun_again() -> None:
    copy = Copy()
    copy.failure = ValueError("nobody foresaw this")
    copy.source = 2
    copy.expire("")
    with pytest.raises(ValueError, match="nobody foresaw this"):
        await asyncio.wait_for(copy.keep_fresh(), PATIENCE_SECONDS)

    copy.failure = None
    async with kept_fresh(copy):
        await until(lambda: copy.known == 2)
