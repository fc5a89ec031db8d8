"""Attempts to sign in are counted per account and per place, in windows; a database that is away stops nothing else."""

import asyncio
from datetime import timedelta

import pytest

from app.core.clock import utc_now
from app.core.db import Database
from app.core.health import Dependency
from app.identity.attempts_service import AttemptsService
from app.identity.sign_in_service import SignInService
from app.identity_errors import TooManySignIns
from app.setting_groups import Identity
from tests.fixtures.weir import RunningWeir

EMAIL = "ada@example.com"


@pytest.fixture
def moments() -> list[timedelta]:
    """Lets a test move the clock."""
    return [timedelta()]


@pytest.fixture
def attempts(weir: RunningWeir, moments: list[timedelta]) -> AttemptsService:
    settings = Identity(attempts_per_account=3, attempts_per_address=2, attempts_window_seconds=60)
    start = utc_now()
    return AttemptsService(weir.wiring.people.sign_in._db, settings, lambda: start + moments[0])


async def refused(attempts: AttemptsService, email: str, address: str | None) -> int:
    """Return after how many seconds to try again, 0 when it may be tried now."""
    try:
        await attempts.admit(email, address)
    except TooManySignIns as error:
        return int(error.headers["retry-after"])
    return 0


@pytest.mark.parametrize(
    ("one", "other", "are_one_place"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1%eth0", "2001:db8::2%eth0", True),
        ("unix:", "203.0.113.7", False),
    ],
)
async def test_addresses_of_one_household_count_together(
    attempts: AttemptsService, one: str, other: str, are_one_place: bool
) -> None:
    for number in range(2):
        assert await refused(attempts, f"{number}@example.com", one) == 0

    assert (await refused(attempts, EMAIL, other) > 0) == are_one_place
    assert await refused(attempts, "another@example.com", one) > 0


async def test_an_address_that_is_refused_keeps_nobody_out_of_their_account(attempts: AttemptsService) -> None:
    for number in range(2):
        assert await refused(attempts, f"{number}@example.com", "203.0.113.7") == 0
    for _ in range(5):
        assert await refused(attempts, EMAIL, "203.0.113.7") > 0

    assert await refused(attempts, EMAIL, "203.0.113.8") == 0


async def test_a_window_ends_and_says_when(attempts: AttemptsService, moments: list[timedelta]) -> None:
    for _ in range(3):
        assert await refused(attempts, EMAIL, None) == 0
    moments[0] += timedelta(seconds=20)
    assert await refused(attempts, EMAIL, None) == 41
    moments[0] += timedelta(seconds=41)  # as long as was said

    for _ in range(3):
        assert await refused(attempts, EMAIL, None) == 0
    assert await refused(attempts, EMAIL, None) == 61


async def test_only_the_first_that_is_refused_is_written_down(attempts: AttemptsService) -> None:
    told = []
    for _ in range(6):
        try:
            await attempts.admit(EMAIL, None)
        except TooManySignIns as error:
            told.append(error.is_first)

    assert told == [True, False, False]


async def test_who_comes_in_has_all_attempts_again(weir: RunningWeir, attempts: AttemptsService) -> None:
    db = weir.wiring.people.sign_in._db
    for _ in range(5):
        assert await refused(attempts, EMAIL, "203.0.113.7") == 0
        assert await refused(attempts, EMAIL, None) == 0
        async with db.transaction() as tx:
            await attempts.succeeded(tx, EMAIL, "203.0.113.7")
            await attempts.succeeded(tx, EMAIL, None)


async def test_cleaning_up_goes_on_after_whatever_goes_wrong(weir: RunningWeir) -> None:
    wrong = asyncio.Event()

    def no_clock() -> None:
        wrong.set()
        raise ValueError("the clock is broken")

    people, settings = weir.wiring.people, weir.settings
    went_down = asyncio.Event()
    nowhere = Database(
        "postgresql://weir@127.0.0.1:1/weir", settings.database, Dependency("database", lambda _: went_down.set())
    )
    broken = AttemptsService(people.sign_in._db, settings.identity, no_clock)  # type: ignore[arg-type]
    for db, attempts, seen in ((nowhere, people.sign_in._attempts, went_down), (people.sign_in._db, broken, wrong)):
        work = asyncio.create_task(
            SignInService(db, people.sign_in._passwords, attempts, people.sessions).keep_purged()
        )
        async with asyncio.timeout(10):
            await seen.wait()
        assert not (await asyncio.wait([work], timeout=0.05))[0]
        work.cancel()
    await nowhere.close()
