"""Costs add up to the ledger to the last nano-dollar, in the official SDK's words and in CSV."""

import csv
import io
import socket
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import httpx
import openai
import pytest

from app.core.clock import utc_now
from app.core.money import NANO_PER_USD, Nano, usd_text
from app.ledger.entries import Entry
from tests.fixtures.own_servers import OwnServer
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.ledger.billed import DAYS, VALUES, Count, ask, expected, seconds, seen, write_to
from tests.ledger.books import cost, model_of, random_entries, requests
from tests.ledger.conftest import make_entry

GROUPS = ("project_id", "user_id", "line_item", "api_key_id", "api_source")
CSV = "/v1/gateway/costs.csv"
MAY = f"{CSV}?start_date=2031-05-01&end_date=2031-06-01"


def exact(entries: Iterable[Entry]) -> str:
    return usd_text(Nano(cost(entries)))


def value(entries: Iterable[Entry]) -> float:
    return cost(entries) / NANO_PER_USD


COUNTS: dict[str, Count] = {"amount.exact": exact, "amount.value": value}


async def test_costs_are_the_sum_of_the_ledger_by_any_groups(weir: RunningWeir, organization: Any) -> None:
    entries = random_entries(21, 1_000, DAYS)
    await write_to(weir, entries)

    for number in (0, 1, 2, len(GROUPS)):
        for group_by in combinations(GROUPS, number):
            buckets = await ask(organization.usage.costs, **seconds(DAYS), group_by=list(group_by), limit=180)

            assert seen(buckets, group_by, COUNTS) == expected(entries, DAYS, "day", group_by, COUNTS), group_by
            amounts = [result.amount for bucket in buckets for result in bucket.results]
            assert {amount.currency for amount in amounts} == {"usd"}
            assert sum(Decimal(amount.exact) for amount in amounts) * NANO_PER_USD == cost(entries)


async def test_costs_are_filtered_and_paged(weir: RunningWeir, organization: Any) -> None:
    entries = random_entries(24, 400, DAYS)
    await write_to(weir, entries)
    span = DAYS._replace(begin=DAYS.begin + timedelta(hours=7, seconds=3))

    buckets = await ask(
        organization.usage.costs,
        **seconds(span),
        limit=1,
        project_ids=["proj_1"],
        api_key_ids=["key_0", "key_1", "key_2"],
        line_items=["model-0", "model-1-2026"],
    )

    wanted = [
        entry
        for entry in entries
        if entry.project_id == "proj_1" and entry.key_id != "key_3"
        if VALUES["line_item"](entry) in ("model-0", "model-1-2026")
    ]
    assert seen(buckets, [], COUNTS) == expected(wanted, span, "day", [], COUNTS)
    assert {result.object for bucket in buckets for result in bucket.results} == {"organization.costs.result"}


async def test_costs_beyond_what_a_number_can_hold_are_exact_beside_it(weir: RunningWeir, organization: Any) -> None:
    entries = [make_entry(settled_at=DAYS.begin, cost_nano=2**63 - 1) for _ in range(3)]
    await write_to(weir, entries)

    buckets = await ask(organization.usage.costs, **seconds(DAYS))

    assert seen(buckets, [], COUNTS) == expected(entries, DAYS, "day", [], COUNTS)


@pytest.mark.parametrize(
    ("question", "param"),
    [({"bucket_width": "1h"}, "bucket_width"), ({"limit": 181}, "limit"), ({"group_by": ["model"]}, "group_by[0]")],
)
async def test_what_only_usage_knows_is_refused(
    weir: RunningWeir, organization: Any, question: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await organization.usage.costs(start_time=0, **question)
    assert caught.value.param == param


async def get(weir: RunningWeir, path: str, key: str | None = None) -> httpx.Response:
    async with weir.http(weir.admin_key if key is None else key) as client:
        return await client.get(path)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_the_csv_has_a_row_for_each_day_project_user_key_model_and_tier(weir: RunningWeir) -> None:
    entries = random_entries(25, 500, DAYS)
    await write_to(weir, entries)
    groups: defaultdict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for e in entries:
        key = (e.project_id, e.user_id or "", e.key_id, model_of(e), e.service_tier or "")
        groups[(e.settled_at.date().isoformat(), *key)].append(e)

    answer = await get(weir, MAY)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="weir-costs-from-2031-05-01.csv"'
    rows = rows_of(answer.text)
    assert [tuple(row.values())[:6] for row in rows] == sorted(groups)
    for row in rows:
        group = groups[tuple(row.values())[:6]]
        assert row["cost_usd"] == exact(group)
        assert row["requests"] == str(requests(group))
        for name in ("input_tokens", "cached_input_tokens", "output_tokens"):
            assert row[name] == str(sum(getattr(entry, name) for entry in group))


async def test_the_csv_has_the_days_that_were_asked_for(weir: RunningWeir) -> None:
    entries = [make_entry(settled_at=DAYS.begin + timedelta(days=day)) for day in range(3)]
    await write_to(weir, entries)

    answer = await get(weir, f"{CSV}?start_date=2031-05-11&end_date=2031-05-12")
    assert [row["date"] for row in rows_of(answer.text)] == ["2031-05-11"]

    await write_to(weir, [make_entry()])
    answer = await get(weir, f"{CSV}?start_date=2020-01-01")
    assert [row["requests"] for row in rows_of(answer.text)] == ["1"]
    assert rows_of(answer.text)[0]["date"] <= utc_now().date().isoformat()


async def test_no_cell_of_the_csv_is_a_formula(weir: RunningWeir) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil.example","a")', "a=1", 'quo"te,']
    entries = [make_entry(settled_at=DAYS.begin, answered_model=text, user_id=text, cost_nano=9) for text in texts]
    credit = make_entry(settled_at=DAYS.begin, user_id="z", cost_nano=-1_500_000_000, flags=("correction",))
    await write_to(weir, [*entries, credit])

    rows = rows_of((await get(weir, MAY)).text)

    shown = {f"'{text}" if text[0] in "=+-@\t\r" else text for text in texts}
    assert {row["model"] for row in rows} - {credit.answered_model} == shown
    assert {row["user_id"] for row in rows} - {"z"} == shown
    assert [row["cost_usd"] for row in rows if row["user_id"] == "z"] == ["-1.5"]


NONSENSE = [
    ("", "start_date"),
    ("start_date=yesterday", "start_date"),
    ("start_date=1969-12-31", "start_date"),
    ("start_date=2026-02-30", "start_date"),
    ("start_date=2026-02-02&end_date=2026-02-02", "end_date"),
    ("start_date=nonsense&end_date=2026-02-02", "start_date"),
    ("start_date=2026-02-02&end_date=9999-12-31", "end_date"),
    ("start_date=2026-02-02&project_ids=proj_default", "project_ids"),
]


async def test_days_that_make_no_sense_are_refused(weir: RunningWeir) -> None:
    for query, param in NONSENSE:
        answer = await get(weir, f"{CSV}?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), query


async def test_the_csv_is_for_admin_keys(weir: RunningWeir) -> None:
    assert (await get(weir, MAY, weir.api_key)).status_code == 403
    assert (await get(weir, MAY, "")).status_code == 401


_MANY_ROWS = """
INSERT INTO usage_rollups
SELECT 'day', timestamptz '2031-05-10', 'proj', NULL, 'key_' || number, 'responses', repeat('m', 1000), NULL,
       'completed', 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number
FROM generate_series(1, 20000) AS number
"""


async def test_a_slow_reader_of_the_csv_keeps_no_connection_from_others(
    weir: RunningWeir, start_weir: StartWeir
) -> None:
    await weir.sql(_MANY_ROWS)
    one = await start_weir({"database.pool_size": 1, "database.pool_timeout_seconds": 20})
    # What it does not read waits in Weir, and not in the machine's buffers.
    transport = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)], verify=False)
    headers = {"authorization": f"Bearer {one.admin_key}", "accept-encoding": "identity"}

    async with (
        httpx.AsyncClient(base_url=one.base_url, transport=transport, timeout=30) as slow,
        slow.stream("GET", MAY, headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        for _ in range(4):  # more often than the file has pieces
            assert (await get(one, "/v1/organization/costs?start_time=0&limit=1")).status_code == 200
        costs = [Decimal(line.rpartition(",")[2]) async for line in lines]

    assert sorted(cost_usd * NANO_PER_USD for cost_usd in costs) == list(range(1, 20_001))


async def test_a_database_that_is_away_is_a_503_and_not_half_a_file(
    own_settings: Any, own_postgres: OwnServer, start_weir: StartWeir
) -> None:
    weir = await start_weir({"database_url": own_settings.database_url, "database.connect_timeout_seconds": 0.3})
    assert (await get(weir, MAY)).status_code == 200
    own_postgres.kill()
    try:
        for path in (MAY, "/v1/organization/costs?start_time=0", "/v1/requests"):
            answer = await get(weir, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
            assert answer.headers["retry-after"]
    finally:
        own_postgres.heal()
