"""Receipts are listed in the order of arrival, each attempt once, to those who may see them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.ids import new_uuid7
from app.core.money import Nano, usd_text
from app.ledger.entries import Entry
from app.ledger.receipt_query import folded
from tests.fixtures.signed_in import sign_in
from tests.fixtures.weir import RunningWeir
from tests.ledger.billed import DAYS, write_to
from tests.ledger.books import random_entries
from tests.ledger.conftest import make_entry

PATH = "/v1/requests"
HALF = int((DAYS.begin + timedelta(hours=36)).timestamp())


@pytest.fixture
async def entries(weir: RunningWeir) -> list[Entry]:
    """Write entries, and return one for each attempt as a receipt must have it, the newest first."""
    entries = random_entries(31, 150, DAYS)
    await write_to(weir, entries)
    return folded_attempts(entries)


def folded_attempts(entries: Sequence[Entry]) -> list[Entry]:
    attempts: dict[UUID, list[Entry]] = {}
    for entry in entries:
        attempts.setdefault(entry.id, []).append(entry)
    return [folded(attempts[attempt]) for attempt in sorted(attempts, reverse=True)]


def entry_at(moment: datetime, **changes: Any) -> Entry:
    """Return an entry of a call that arrived at *moment* and was settled a second later."""
    unix_ms = int(moment.timestamp() * 1_000)
    changes = {"settled_at": moment + timedelta(seconds=1), "project_id": "proj_0", **changes}
    return make_entry(id=new_uuid7(unix_ms), started_at=moment, **changes)


async def get(weir: RunningWeir, key: str | None = None, **question: Any) -> httpx.Response:
    async with weir.http(weir.admin_key if key is None else key) as client:
        return await client.get(PATH, params=question)


async def ask(weir: RunningWeir, **question: Any) -> list[dict[str, Any]]:
    """Return the receipts of every page."""
    receipts: list[dict[str, Any]] = []
    while True:
        page = (await get(weir, **question)).json()
        data = page["data"]
        assert page["object"] == "list"
        assert len(data) <= question.get("limit", 20)
        ids = (data[0]["attempt_id"], data[-1]["attempt_id"]) if data else (None, None)
        assert (page["first_id"], page["last_id"]) == ids
        receipts += data
        if not page["has_more"]:
            return receipts
        question["after"] = page["last_id"]


def brief(entry: Entry) -> tuple[Any, ...]:
    return (str(entry.id), entry.request_id, entry.outcome, entry.ending, usd_text(entry.cost_nano), entry.user_id)


def briefly(receipts: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("attempt_id", "id", "outcome", "ending", "cost_usd", "user_id")
    return [tuple(receipt[name] for name in names) for receipt in receipts]


@pytest.mark.parametrize("limit", [7, 100])
async def test_every_attempt_is_on_one_page_in_either_order(
    weir: RunningWeir, entries: list[Entry], limit: int
) -> None:
    expected = [brief(entry) for entry in entries]

    assert briefly(await ask(weir, limit=limit)) == expected
    assert briefly(await ask(weir, limit=limit, order="asc")) == expected[::-1]


FILTERS: list[tuple[dict[str, Any], Callable[[Entry], bool]]] = [
    ({"project_id": "proj_1"}, lambda e: e.project_id == "proj_1"),
    ({"key_id": "key_2"}, lambda e: e.key_id == "key_2"),
    ({"user_id": "user_b"}, lambda e: e.user_id == "user_b"),
    ({"model": "model-1"}, lambda e: e.model == "model-1"),
    ({"model": "model-1-2026"}, lambda e: e.answered_model == "model-1-2026"),
    ({"outcome": "client_left"}, lambda e: e.outcome == "client_left"),
    ({"ending": "settled"}, lambda e: e.ending == "settled"),
    ({"ending": "orphaned"}, lambda e: False),  # all of them were corrected
    ({"created_after": HALF}, lambda e: e.started_at.timestamp() >= HALF),
    ({"created_before": HALF}, lambda e: e.started_at.timestamp() < HALF),
    ({"created_after": HALF, "created_before": HALF + 40_000}, lambda e: HALF <= e.started_at.timestamp() < HALF + 4e4),
    ({"created_after": 0, "created_before": 0}, lambda e: False),
    ({"min_cost_usd": "0.00000123"}, lambda e: e.cost_nano >= 1_230),
    ({"min_cost_usd": "0"}, lambda e: True),
    ({"project_id": "proj_0", "outcome": "completed", "order": "desc"}, lambda e: brief(e)[2:3] == ("completed",)),
    ({"model": "' OR true --"}, lambda e: False),
]


async def test_each_filter_leaves_out_everything_else(weir: RunningWeir, entries: list[Entry]) -> None:
    for question, is_wanted in FILTERS:
        wanted = [entry for entry in entries if is_wanted(entry)]
        if "project_id" in question:
            wanted = [entry for entry in wanted if entry.project_id == question["project_id"]]
        assert briefly(await ask(weir, **question, limit=50)) == [brief(entry) for entry in wanted], question


async def test_an_attempt_that_was_swept_and_then_settled_is_one_receipt_at_what_it_cost(weir: RunningWeir) -> None:
    swept = entry_at(DAYS.begin, ending="orphaned", outcome="process_died", cost_nano=9_000, flags=("orphaned",))
    settled = swept._replace(ending="settled", outcome="completed", cost_nano=-4_000, flags=("correction",))  # type: ignore[arg-type]
    minute = timedelta(minutes=1)
    for later in (minute, -minute):  # or another machine's clock is behind
        attempt = new_uuid7(int(DAYS.begin.timestamp() * 1_000))
        pair = [swept, settled._replace(settled_at=swept.settled_at + later)]
        request_id = f"req_{attempt.hex}"
        await write_to(weir, [entry._replace(id=attempt, request_id=request_id) for entry in pair])

        listed = [receipt for receipt in await ask(weir) if receipt["id"] == request_id]
        async with weir.http(weir.admin_key) as client:
            shown = (await client.get(f"{PATH}/{request_id}")).json()

        assert [attempt["attempt_id"] for attempt in shown.pop("attempts")] == [str(attempt)]
        assert shown.pop("has_more_attempts") is False
        assert shown.pop("call_cost_usd") == shown["cost_usd"]
        assert listed == [shown]
        assert (shown["cost_usd"], shown["ending"], shown["outcome"]) == ("0.000005", "settled", "completed")

    assert len(await ask(weir, min_cost_usd="0.000005")) == 2
    assert await ask(weir, min_cost_usd="0.000005001") == []
    assert await ask(weir, ending="orphaned") == []


async def test_a_call_of_many_attempts_costs_what_all_of_them_cost(weir: RunningWeir) -> None:
    calls = [entry_at(DAYS.begin + timedelta(minutes=n), request_id="req_many", cost_nano=1_000) for n in range(30)]
    swept = calls[10]._replace(ending="orphaned", flags=("orphaned",), settled_at=DAYS.begin)
    correction = calls[10]._replace(cost_nano=Nano(-400), flags=("correction",))
    await write_to(weir, [*calls[:10], *calls[11:], swept, correction])

    async with weir.http(weir.admin_key) as client:
        shown = (await client.get(f"{PATH}/req_many")).json()

    assert [each["attempt_id"] for each in shown["attempts"]] == [str(each.id) for each in calls[10:]]
    assert shown["attempts"][0]["cost_usd"] == "0.0000006"
    assert shown["has_more_attempts"] is True
    assert shown["call_cost_usd"] == "0.0000296"


async def test_attempts_of_one_request_are_receipts_of_their_own(weir: RunningWeir) -> None:
    attempts = [entry_at(DAYS.begin + timedelta(seconds=n), request_id="req_shared", cost_nano=n) for n in range(3)]
    alone = entry_at(DAYS.begin + timedelta(seconds=9))
    await write_to(weir, [*attempts, alone])

    receipts = await ask(weir, limit=1)
    assert [receipt["id"] for receipt in receipts] == [alone.request_id, "req_shared", "req_shared", "req_shared"]
    assert sum(Decimal(receipt["cost_usd"]) for receipt in receipts[1:]) == Decimal("0.000000003")

    after_alone = (await get(weir, after=alone.request_id)).json()
    assert [receipt["attempt_id"] for receipt in after_alone["data"]] == [str(e.id) for e in attempts[::-1]]
    refused = await get(weir, after="req_shared")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")
    assert "several attempts" in refused.json()["error"]["message"]


async def test_ranges_side_by_side_have_every_attempt_once(weir: RunningWeir) -> None:
    noon = DAYS.begin + timedelta(hours=12)

    def attempt(reserved: datetime, began: datetime) -> Entry:
        return make_entry(id=new_uuid7(int(reserved.timestamp() * 1_000)), started_at=began, settled_at=noon)

    second_attempt = attempt(noon + timedelta(seconds=10), noon - timedelta(seconds=20))
    spoken = attempt(noon - timedelta(minutes=5), noon + timedelta(seconds=5))
    await write_to(weir, [second_attempt, spoken])

    before, after = [await ask(weir, **{name: int(noon.timestamp())}) for name in ("created_before", "created_after")]

    assert [receipt["attempt_id"] for receipt in before] == [str(second_attempt.id)]
    assert [receipt["attempt_id"] for receipt in after] == [str(spoken.id)]


async def test_what_arrives_meanwhile_moves_nothing_on_the_pages_that_follow(
    weir: RunningWeir, entries: list[Entry]
) -> None:
    seen: list[str] = []
    page = (await get(weir, limit=40)).json()
    for number in range(10):
        seen += [receipt["attempt_id"] for receipt in page["data"]]
        if not page["has_more"]:
            break
        await write_to(weir, [entry_at(DAYS.end + timedelta(seconds=number))])
        page = (await get(weir, limit=40, after=page["last_id"])).json()

    assert seen == [str(entry.id) for entry in entries]


async def test_an_api_key_sees_its_own_project_only(weir: RunningWeir) -> None:
    ours, theirs = entry_at(DAYS.begin, project_id="proj_default"), entry_at(DAYS.begin)
    await write_to(weir, [ours, theirs])

    for question in ({}, {"project_id": "proj_default"}):
        page = (await get(weir, weir.api_key, **question)).json()
        assert [receipt["id"] for receipt in page["data"]] == [ours.request_id]
    refused = await get(weir, weir.api_key, project_id="proj_0")
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "project_id")
    unknown = [await get(weir, weir.api_key, after=name) for name in (theirs.request_id, "req_nobody")]
    assert [answer.status_code for answer in unknown] == [400, 400]
    assert unknown[0].json() == unknown[1].json()
    assert (await get(weir, weir.api_key, after=str(theirs.id))).status_code == 200


async def test_a_person_without_one_paying_project_sees_those_that_they_are_in(weir: RunningWeir) -> None:
    other = await weir.wiring.tenants.projects.create("Other")
    ours, other_one = entry_at(DAYS.begin, project_id="proj_default"), entry_at(DAYS.begin, project_id=other.id)
    theirs = entry_at(DAYS.begin)
    await write_to(weir, [ours, other_one, theirs])
    every_one = {ours.request_id, other_one.request_id, theirs.request_id}
    people = [
        (await sign_in(weir, "Nobody"), set[str]()),
        (await sign_in(weir, "Watcher", proj_default="viewer"), {ours.request_id}),
        (await sign_in(weir, "Both", proj_default="member", **{other.id: "member"}), every_one - {theirs.request_id}),
        (await sign_in(weir, "Auditor", "viewer"), every_one),
    ]

    for person, seen in people:
        page = (await get(weir, person.token)).json()
        assert {receipt["id"] for receipt in page["data"]} == seen
        async with weir.http(person.token) as client:
            statuses = {each: (await client.get(f"{PATH}/{each}")).status_code for each in every_one}
        assert {each for each, status in statuses.items() if status == 200} == seen
        assert set(statuses.values()) <= {200, 404}
        asked = await get(weir, person.token, project_id=theirs.project_id)
        assert asked.status_code == (200 if theirs.request_id in seen else 403)
        after = await get(weir, person.token, after=theirs.request_id)
        assert after.status_code == (200 if theirs.request_id in seen else 400)


async def test_a_call_is_listed_as_its_own_receipt_shows_it(weir: RunningWeir) -> None:
    async with weir.openai() as client:
        await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
    [row] = await weir.entries()

    [receipt] = (await get(weir, weir.api_key)).json()["data"]

    async with weir.http() as http:
        shown = (await http.get(f"{PATH}/{row['request_id']}")).json()
    [attempt] = shown.pop("attempts")
    assert attempt.items() <= receipt.items()
    assert shown.pop("has_more_attempts") is False
    assert shown.pop("call_cost_usd") == receipt["cost_usd"]
    assert receipt == shown
    assert receipt["attempt_id"] == str(row["id"])
    assert receipt["ceiling_usd"] == usd_text(row["ceiling_nano"])
    assert Decimal(receipt["ceiling_usd"]) >= Decimal(receipt["cost_usd"]) > 0
    assert receipt["user_id"] is None


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": 101}, "limit"),
    ({"order": "newest"}, "order"),
    ({"outcome": "lost"}, "outcome"),
    ({"ending": "paid"}, "ending"),
    ({"created_after": "today"}, "created_after"),
    ({"created_before": 10**12}, "created_before"),
    ({"min_cost_usd": "-1"}, "min_cost_usd"),
    ({"min_cost_usd": "NaN"}, "min_cost_usd"),
    ({"min_cost_usd": "1e400"}, "min_cost_usd"),
    ({"min_cost_usd": "0.0000000001"}, "min_cost_usd"),
    ({"model": "a\0b"}, "model"),
    ({"after": ""}, "after"),
    ({"after": "nonsense"}, "after"),
    ({"project": "proj_default"}, "project"),
]


async def test_a_question_that_makes_no_sense_is_refused_by_name(weir: RunningWeir) -> None:
    for question, param in NONSENSE:
        answer = await get(weir, **question)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), question


async def test_a_request_id_that_no_database_can_hold_is_refused(weir: RunningWeir) -> None:
    async with weir.http() as client:
        answer = await client.get(f"{PATH}/a%00b")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "request_id")
