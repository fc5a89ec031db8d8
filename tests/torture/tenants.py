"""Who pays: cohorts of a project, its people and keys, under small budgets of overlapping scopes.

When the open cohort is spent the next one is made, by plain SQL, and calls on the old ones must go on being refused: so
no budget is ever refilled behind the audit's back, but for those that are there to be refilled.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeAlias, TypeVar

import asyncpg

from app.keys import tokens

KEYS = 4
ORGANIZATION = "torture organization"
_SPENT_REFUSALS = 60
_SPENT_PROJECT_REFUSALS = 12
_RETRY_SECONDS = 0.1
_TOP_UP_SECONDS = 0.4
_DOLLARS = 1_000_000_000

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Result = TypeVar("Result")


class Key(NamedTuple):
    """An API key."""

    id: str
    value: str
    user_id: str | None


class Cohort(NamedTuple):
    """A project and its keys."""

    number: int
    project_id: str
    keys: tuple[Key, ...]


class Tenants:
    """Every cohort so far; the last one is open."""

    def __init__(self, database_url: str, pepper: str, seed: int) -> None:
        self._database_url = database_url
        self._pepper = pepper.encode()
        self._random = Random(f"tenants/{seed}")
        self._refusals = self._project_refusals = 0
        self._opening = asyncio.Lock()
        self.cohorts: list[Cohort] = []
        self.top_ups = 0
        self.early_sights: list[str] = []

    def find(self, age: int) -> Cohort:
        """Return the cohort that was opened *age* cohorts before the newest."""
        return self.cohorts[max(0, len(self.cohorts) - 1 - age)]

    async def note_refusal(self, budget_name: str) -> None:
        """Hear that a budget was said to be spent; open the next cohort when that was heard often enough."""
        cohort = self.cohorts[-1]
        if budget_name.startswith(f"{cohort.number} "):
            self._refusals += 1
            self._project_refusals += budget_name.endswith(" project")
        if self._refusals >= _SPENT_REFUSALS or self._project_refusals >= _SPENT_PROJECT_REFUSALS:
            async with self._opening:
                if self.cohorts[-1] is cohort:
                    await self.open_cohort()

    async def open_cohort(self) -> None:
        """Make the next cohort; tried until the database has it."""
        number = len(self.cohorts) + 1
        keys = tuple(
            Key(f"key_{number}_{index}", tokens.mint("api"), user)
            for index, user in enumerate((f"user_{number}_a", f"user_{number}_a", f"user_{number}_b", None))
        )
        cohort = Cohort(number, f"proj_{number}", keys)
        await self.execute(lambda connection: self._insert(connection, cohort))
        self._refusals = self._project_refusals = 0
        self.cohorts.append(cohort)

    async def make_organization(self) -> None:
        """Make the budgets that every call is under: one that is kept nearly empty, and two that only look on."""
        rows = (
            ("bud_org", ORGANIZATION, "organization", None, "sim-*", "total", "UTC", 20_000_000, "enforcing"),
            ("bud_org_day", "organization's day", "organization", None, None, "day", "UTC", 1, "observing"),
            ("bud_org_odd", "odd", "organization", None, "*odd", "month", "Asia/Kolkata", _DOLLARS, "observing"),
        )
        await self.execute(lambda connection: _insert_budgets(connection, rows))

    async def top_up(self) -> None:
        """Keep the organization's budget nearly empty until cancelled; now and then, raise an old limit a little."""
        while True:
            await asyncio.sleep(_TOP_UP_SECONDS)
            amount = self._random.randrange(2_000_000, 14_000_000)
            raised = self._random.choice(self.cohorts) if self._random.random() < 0.04 else None
            await self.execute(partial(self._top_up, amount_nano=amount))
            if raised is not None:
                await self.execute(partial(_raise_limit, cohort=raised))
                self.top_ups += 1

    async def execute(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Return what *work* does in one transaction, tried until PostgreSQL is there."""
        while True:
            try:
                connection = await asyncpg.connect(self._database_url, timeout=5, command_timeout=15)
                try:
                    async with connection.transaction():
                        return await work(connection)
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(_RETRY_SECONDS)

    async def _top_up(self, connection: Connection, amount_nano: int) -> None:
        row = await connection.fetchrow(
            "SELECT w.id, limit_nano + extra_nano, spent_nano, reserved_nano FROM budget_windows w "
            "JOIN budgets b ON b.id = budget_id WHERE b.id = 'bud_org' FOR UPDATE OF w"
        )
        if row is None:
            return
        window_id, limit_nano, spent_nano, reserved_nano = row
        if spent_nano + reserved_nano > limit_nano:
            self.early_sights.append(f"{ORGANIZATION}: {spent_nano} + {reserved_nano} > {limit_nano}")
        if limit_nano - spent_nano < 12_000_000:
            await connection.execute(
                "UPDATE budget_windows SET extra_nano = extra_nano + $2 WHERE id = $1", window_id, amount_nano
            )
            self.top_ups += 1

    async def _insert(self, connection: Connection, cohort: Cohort) -> None:
        if await connection.fetchval("SELECT count(*) FROM projects WHERE id = $1", cohort.project_id):
            return  # the answer to the first try was lost
        number, project_id = cohort.number, cohort.project_id
        await connection.execute("INSERT INTO projects (id, name) VALUES ($1, $1)", project_id)
        for user_id in {key.user_id for key in cohort.keys if key.user_id is not None}:
            await connection.execute(
                "INSERT INTO users (id, email, name, role) VALUES ($1, $1 || '@example.com', $1, 'member')", user_id
            )
            await connection.execute(
                "INSERT INTO project_members (project_id, user_id, role) VALUES ($1, $2, 'member')", project_id, user_id
            )
        for key in cohort.keys:
            await connection.execute(
                "INSERT INTO api_keys (id, kind, project_id, user_id, name, digest, redacted) "
                "VALUES ($1, 'api', $2, $3, $1, $4, $1)",
                key.id,
                project_id,
                key.user_id,
                tokens.digest(key.value, self._pepper),
            )
        a, b, k = f"user_{number}_a", f"user_{number}_b", [key.id for key in cohort.keys]
        # The first two are small, so that every run has some that are spent from early on.
        unit_nano = 800 if number < 3 else 10_000
        sizes = [self._random.randrange(80, 120) * unit_nano for _ in range(6)]
        budgets: tuple[tuple[Any, ...], ...] = (
            ("project", "project", project_id, None, "total", "UTC", 50 * sizes[0], "enforcing"),
            ("project's large", "project", project_id, "sim-l*", "day", "UTC", 14 * sizes[1], "enforcing"),
            ("user a", "user", a, None, "total", "UTC", 24 * sizes[2], "enforcing"),
            ("user b", "user", b, None, "day", "Pacific/Auckland", sizes[3], "observing"),
            ("key 0", "api_key", k[0], None, "day", "America/Los_Angeles", 12 * sizes[4], "enforcing"),
            ("key 3", "api_key", k[3], "sim-*", "week", "UTC", 10 * sizes[5], "enforcing"),
            ("key 3 odd", "api_key", k[3], "torture-odd", "month", "UTC", 3 * sizes[5], "enforcing"),
        )
        rows = [(f"bud_{number}_{i}", f"{number} {row[0]}", *row[1:]) for i, row in enumerate(budgets)]
        await _insert_budgets(connection, rows)


async def _insert_budgets(connection: Connection, rows: Any) -> None:
    await connection.executemany(
        "INSERT INTO budgets (id, name, scope, scope_id, model, period, time_zone, limit_nano, mode, version) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1) ON CONFLICT DO NOTHING",
        rows,
    )
    await connection.execute("UPDATE budget_versions SET version = version + 1")


async def _raise_limit(connection: Connection, cohort: Cohort) -> None:
    await connection.execute(
        "UPDATE budgets SET limit_nano = limit_nano + 900000, version = version + 1 WHERE id = $1",
        f"bud_{cohort.number}_0",
    )
    await connection.execute("UPDATE budget_versions SET version = version + 1")
