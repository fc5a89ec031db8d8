"""No statement of the management API or of a job reads more as tables grow: PostgreSQL says what each has read."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import pytest

from app.budgets.check_service import CheckService
from app.core.clock import utc_now
from app.identity import repository as people
from app.ledger.day_service import DayCostService
from tests.architecture.test_management import _MANAGEMENT, Operation, body_of, furnished, place
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.scale.conftest import LargeWeir
from tests.scale.plans import Log, Plan
from tests.scale.walking import Walk, follow

# What reads much on purpose, by a part of its statement, and why that is right.
_MEANT: Final = {
    "FROM limits ORDER BY": "every process has all limits in memory, and reads them anew when one changes",
    "FROM budgets WHERE archived_at IS NULL ORDER BY id": "likewise all budgets, when their version changes",
    "FROM project_caches": "likewise what was said about caching",
    "WITH looked_at AS": "the hourly check of the books reads the entries and calls under way of every open window",
    "ALL (ledger_entries.budget_window_ids) GROUP BY": "a new budget for everybody begins with everybody's month",
    "FROM reservations WHERE reservations.started_at": "who makes a budget looks through the calls under way, once",
    "UPDATE reservations SET budget_window_ids": "and puts those of its payer into the window",
}
# What the jobs of a Weir do, by a part of their statements: each must have been seen.
_JOBS: Final = {
    "DELETE FROM ledger_changes",
    "INSERT INTO usage_rollups",
    "DELETE FROM reservations",
    "DELETE FROM processes",
    "DELETE FROM idempotency_keys",
    "DELETE FROM owned_objects",
    "DELETE FROM sessions",
    "DELETE FROM sign_in_attempts",
    "UPDATE api_keys SET last_used_at",
    "WHERE budget_windows.opening_nano IS NULL",
    "WITH looked_at AS",
}
# What needs a password, a token or an upstream that nobody has here: asked all the same.
_IN_VAIN: Final = ("/v1/gateway/auth/", "/v1/gateway/upstreams/")
_ENDINGS: Final = ("/organization/users/{user_id}", "/archive", "/sign-out", "/sign-out-everywhere")
# By the end of the path; all others take the example of their description.
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "{project_id}/users": {"user_id": "user_100", "role": "member"},
    "organization/invites": {"email": "new@example.com", "role": "reader"},
    "gateway/keys": {"name": "new", "project_id": "{project_id}", "user_id": "{person_id}"},
    "auth/token": {"grant_type": "password", "username": "u10@example.org", "password": "wrong"},
    "invites/accept": {"token": "wrong", "name": "New", "password": "correct horse battery"},
    "gateway/upstreams": {"name": "new", "base_url": "https://8.8.8.8/v1", "models": ["x"], "test": False},
}


@pytest.fixture(scope="module")
async def things(large_weir: LargeWeir, log: Log) -> dict[str, str]:
    """One of everything, with a token of somebody who may see the project that it is in."""
    found = {**await furnished(large_weir), "upstream": "openai", "model": "sim-small"}
    assert not offences(log)
    person = await sign_in(large_weir, "Grace", "member", **{found["project_id"]: "owner"})
    return {**found, "person_id": person.id, "session": person.token}


@pytest.fixture(scope="module")
async def description(large_weir: LargeWeir) -> dict[str, Any]:
    async with large_weir.http("") as client:
        described: dict[str, Any] = (await client.get("/openapi.json")).json()
    return described


@pytest.fixture(scope="module")
def operations(description: dict[str, Any]) -> list[Operation]:
    every = [Operation(path, method, what) for path, of in description["paths"].items() for method, what in of.items()]
    return [each for each in every if each.path.startswith(_MANAGEMENT)]


def offences(log: Log, plans: Sequence[Plan] | None = None) -> dict[str, str]:
    """Return what *plans*, or what was done since this was asked last, read too much of, by the statement."""
    return {
        plan.statement: f"{offence}\n    {plan.statement[:2000]}\n    {plan.parameters[:300]}"
        for plan in (log.read() if plans is None else plans)
        if not any(part in plan.statement for part in _MEANT)
        for offence in log.offences(plan)
    }


async def test_no_job_reads_more_as_tables_grow(large_weir: LargeWeir, log: Log) -> None:
    db, rollups, metrics = large_weir.wiring.ledger._db, large_weir.wiring.rollups, large_weir.wiring.metrics
    async with large_weir.http(large_weir.admin_key) as client:
        await client.get("/v1/gateway/keys", params={"limit": 1})
    await rollups.roll_up()
    await CheckService(db, rollups, metrics, large_weir.settings.budgets, utc_now).check()
    await DayCostService(db).sum_by_model("openai", utc_now().date() - timedelta(days=1))
    plans: list[Plan] = []

    def all_have_run() -> bool:
        plans.extend(log.read())
        return all(any(job in plan.statement for plan in plans) for job in _JOBS)

    await until(all_have_run, patience_seconds=120)
    found = offences(log, plans)
    assert not found, "\n\n".join(found.values())


async def test_no_question_reads_more_as_tables_grow(
    large_weir: LargeWeir, log: Log, things: dict[str, str], operations: list[Operation]
) -> None:
    found: dict[str, str] = {}
    for operation in operations:
        if operation.method != "GET":
            continue
        async with large_weir.http(token_for(operation, large_weir, things)) as client:
            for way in Walk(operation, things, utc_now()).ways():
                for answer in await follow(client, place(operation, things), way):
                    assert answer.status_code == 200, (operation.path, way, answer.text)
                for statement, offence in offences(log).items():
                    found.setdefault(statement, f"{operation.path} {way}\n    {offence}")
    assert not found, "\n\n".join(found.values())


@pytest.mark.parametrize("caller", ["person", "API key"])
async def test_who_sees_little_does_not_make_it_read_more(
    large_weir: LargeWeir, log: Log, things: dict[str, str], operations: list[Operation], caller: str
) -> None:
    answered = 0
    async with large_weir.http(things["session"] if caller == "person" else large_weir.api_key) as client:
        for operation in operations:
            if operation.method == "GET":
                answer = await client.get(place(operation, things), params=operation.required)
                answered += answer.status_code == 200
    found = offences(log)
    assert answered > 3
    assert not found, "\n\n".join(found.values())


async def test_no_change_reads_more_as_tables_grow(
    large_weir: LargeWeir,
    log: Log,
    things: dict[str, str],
    operations: list[Operation],
    description: dict[str, Any],
) -> None:
    found: dict[str, str] = {}
    for operation in sorted((each for each in operations if each.method != "GET"), key=lasts):
        body = example(operation, description, things)
        async with large_weir.http(token_for(operation, large_weir, things)) as client:
            answer = await client.request(operation.method, place(operation, things), **body)
        is_in_vain = operation.path.startswith(_IN_VAIN) and answer.status_code < 500
        assert answer.is_success or is_in_vain, (operation.method, operation.path, body, answer.text)
        for statement, offence in offences(log).items():
            found.setdefault(statement, f"{operation.method} {operation.path}\n    {offence}")
    assert not found, "\n\n".join(found.values())


async def test_signing_in_with_a_provider_reads_one_person(large_weir: LargeWeir, log: Log) -> None:
    async with large_weir.wiring.ledger._db.transaction() as tx:
        known = await people.find_known(tx, "https://issuer.example.org", "s77", "u80@example.org")
        by_email = await people.find_known(tx, "https://another.example.org", "s1", "u80@example.org")
        owners = await people.count_owners_exclusively(tx)
    assert known is not None
    assert (known.id, known.is_linked, by_email, owners) == ("user_77", True, None, 0)
    assert not offences(log)


async def test_a_question_about_a_time_leaves_the_months_before_it_alone(large_weir: LargeWeir, log: Log) -> None:
    now = utc_now()
    today: dict[str, Any] = {"start_time": int((now - timedelta(hours=3)).timestamp()), "bucket_width": "1h"}
    lately: dict[str, Any] = {
        "created_after": int((now - timedelta(hours=3)).timestamp()),
        "model": "gpt-4o",
        "order": "asc",
    }
    log.read()
    async with large_weir.http(large_weir.admin_key) as client:
        for path, asked in {"/v1/organization/usage/completions": today, "/v1/requests": lately}.items():
            assert (await client.get(path, params=asked)).status_code == 200
    parts = {part for plan in log.read() for part in plan.parts if part.startswith("ledger_entries_")}
    oldest = now - timedelta(days=1)
    assert parts
    assert all(part >= f"ledger_entries_y{oldest:%Ym%m}" for part in parts), parts


async def test_a_statement_that_reads_a_whole_table_is_found(large_weir: LargeWeir, log: Log) -> None:
    statements = (
        "SELECT count(*) FROM ledger_entries WHERE cost_nano <> 7",
        "SELECT id FROM api_keys WHERE redacted = '' ORDER BY created_at LIMIT 1",
    )
    for statement in statements:
        await large_weir.sql(statement)
    assert set(statements) <= offences(log).keys()


def token_for(operation: Operation, weir: LargeWeir, things: Mapping[str, str]) -> str:
    """Return what a caller has who may do this."""
    if operation.path.startswith("/v1/gateway/auth"):
        return things["session"]
    return weir.api_key if operation.path == "/v1/gateway/explain" else weir.admin_key


def lasts(operation: Operation) -> tuple[bool, bool]:
    """Sort by this: what ends a person, a project or a session comes when nobody needs it any more."""
    return operation.path.endswith(_ENDINGS), operation.method == "DELETE"


def example(operation: Operation, description: Mapping[str, Any], things: Mapping[str, str]) -> dict[str, Any]:
    """Return a body that the operation takes, should it have one: what `body_of` knows, else the described example."""
    content = description["paths"][operation.path][operation.method.lower()].get("requestBody", {}).get("content")
    if not content:
        return {}
    [(kind, described)] = content.items()
    examples = [each["value"] for each in described.get("examples", {}).values()]
    name = described["schema"].get("$ref", "").rpartition("/")[2]
    schema = description["components"]["schemas"].get(name, described["schema"])
    own = next((body for end, body in _BODIES.items() if operation.path.endswith(end)), {})
    found = body_of(operation) or schema.get("example") or next(iter(examples), {})
    known = {name: things.get("project_id" if name == "scope_id" else name, value) for name, value in found.items()}
    body = {name: value.format(**things) if isinstance(value, str) else value for name, value in own.items()} or known
    return {"json" if kind == "application/json" else "data": body}
