"""`client.admin.organization.usage` of the official SDK works, and its sums are those of the ledger."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest

from app.core.clock import utc_now
from app.ledger.entries import Entry
from app.ledger.spans import LENGTHS, Span, floor
from tests.fixtures.weir import RunningWeir
from tests.ledger.billed import DAYS, VALUES, WIDTHS, Count, ask, expected, seconds, seen, write_to
from tests.ledger.books import count_of, random_entries, requests
from tests.ledger.conftest import make_entry

ENDPOINTS: dict[str, tuple[set[str], dict[str, Count]]] = {
    "completions": (
        {"chat.completions", "completions", "responses", "responses.compact", "realtime"},
        {
            "input_tokens": count_of("input_tokens"),
            "input_cached_tokens": count_of("cached_input_tokens"),
            "input_cache_write_tokens": count_of("cache_write_tokens"),
            "input_cached_audio_tokens": count_of("cached_input_audio_tokens"),
            "output_tokens": count_of("output_tokens"),
            "output_image_tokens": count_of("output_image_tokens"),
        },
    ),
    "embeddings": ({"embeddings"}, {"input_tokens": count_of("input_tokens")}),
    "moderations": ({"moderations"}, {"input_tokens": count_of("input_tokens")}),
    "images": ({"images.generations", "images.edits", "images.variations"}, {"images": count_of("images")}),
    "audio_speeches": ({"audio.speech"}, {"characters": count_of("characters")}),
    "audio_transcriptions": (
        {"audio.transcriptions", "audio.translations"},
        {"seconds": count_of("audio_seconds")},
    ),
}
GROUPS: dict[str, list[str]] = {
    "completions": ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"],
    "images": ["project_id", "user_id", "api_key_id", "model", "size", "source"],
}
SIMPLE = ["project_id", "user_id", "api_key_id", "model"]
HOURS = Span(DAYS.begin + timedelta(hours=20), DAYS.begin + timedelta(hours=29))
PATH = "/v1/organization/usage/completions"


def counts_of(endpoint: str) -> dict[str, Count]:
    return {**ENDPOINTS[endpoint][1], "num_model_requests": requests}


def of(endpoint: str, entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.operation in ENDPOINTS[endpoint][0]]


@pytest.fixture
async def entries(weir: RunningWeir) -> list[Entry]:
    entries = random_entries(11, 300, DAYS)
    await write_to(weir, entries)
    return entries


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_each_endpoint_adds_up_by_each_group_and_in_buckets_of_each_width(
    organization: Any, entries: list[Entry], endpoint: str
) -> None:
    method, counts, own = getattr(organization.usage, endpoint), counts_of(endpoint), of(endpoint, entries)

    for group in GROUPS.get(endpoint, SIMPLE):
        buckets = await ask(method, **seconds(DAYS), group_by=[group], limit=2)
        assert seen(buckets, [group], counts) == expected(own, DAYS, "day", [group], counts), group
        kinds = {result.object for bucket in buckets for result in bucket.results}
        assert kinds == {f"organization.usage.{endpoint}.result"}

    for width, span, limit in (("1m", HOURS, 400), ("1h", DAYS, 7), ("1d", DAYS, 1)):
        buckets = await ask(method, **seconds(span), bucket_width=width, limit=limit)
        books = expected(own, span, WIDTHS[width], [], counts)
        assert seen(buckets, [], counts) == books
        assert list(books) == [(bucket.start_time, bucket.end_time) for bucket in buckets]
        assert {} in books.values() or width == "1d"


async def test_all_groups_at_once_and_none_twice(weir: RunningWeir, organization: Any, entries: list[Entry]) -> None:
    counts = counts_of("completions")
    group_by = GROUPS["completions"]

    buckets = await ask(organization.usage.completions, **seconds(DAYS), group_by=[*group_by, "model"])

    assert seen(buckets, group_by, counts) == expected(of("completions", entries), DAYS, "day", group_by, counts)


FILTERS: list[tuple[dict[str, Any], Callable[[Entry], bool]]] = [
    ({"project_ids": ["proj_0", "proj_2"]}, lambda e: e.project_id in ("proj_0", "proj_2")),
    ({"user_ids": ["user_a"]}, lambda e: e.user_id == "user_a"),
    ({"api_key_ids": ["key_1", "nobody"]}, lambda e: e.key_id == "key_1"),
    ({"models": ["model-1", "model-2-2026"]}, lambda e: VALUES["model"](e) in ("model-1", "model-2-2026")),
    ({"batch": True}, VALUES["batch"]),
    ({"batch": False}, lambda e: not VALUES["batch"](e)),
    (
        {"project_ids": ["proj_0"], "user_ids": ["user_b"], "batch": False},
        lambda e: e.project_id == "proj_0" and e.user_id == "user_b" and not VALUES["batch"](e),
    ),
    ({"models": ["'); DROP TABLE ledger_entries; --"]}, lambda e: False),
]


async def test_filters_leave_out_everything_else(organization: Any, entries: list[Entry]) -> None:
    counts = counts_of("completions")
    for question, is_wanted in FILTERS:
        buckets = await ask(organization.usage.completions, **seconds(DAYS), **question)

        wanted = [entry for entry in of("completions", entries) if is_wanted(entry)]
        assert seen(buckets, [], counts) == expected(wanted, DAYS, "day", [], counts), question


async def test_images_are_asked_for_by_their_source(weir: RunningWeir, organization: Any, entries: list[Entry]) -> None:
    buckets = await ask(organization.usage.images, **seconds(DAYS), sources=["image.edit"], group_by=["source"])

    edits = [entry for entry in entries if entry.operation == "images.edits"]
    counts = counts_of("images")
    assert seen(buckets, ["source"], counts) == expected(edits, DAYS, "day", ["source"], counts)


@pytest.mark.parametrize(
    ("after", "until"),
    [
        (timedelta(hours=21, minutes=58, seconds=31), timedelta(hours=26, minutes=2, seconds=3)),
        (timedelta(hours=21, seconds=1), timedelta(hours=21, seconds=2)),
        (timedelta(minutes=59), timedelta(days=2, minutes=1)),
    ],
)
async def test_a_range_counts_its_first_second_and_not_its_last_wherever_it_begins_and_ends(
    weir: RunningWeir, organization: Any, after: timedelta, until: timedelta
) -> None:
    span = Span(DAYS.begin + after, DAYS.begin + until)
    inside = [span.begin, span.end - timedelta(microseconds=1), span.begin + (span.end - span.begin) / 2]
    outside = [span.begin - timedelta(microseconds=1), span.end]
    entries = [make_entry(settled_at=moment) for moment in [*inside, *outside]]
    await write_to(weir, [*entries, *random_entries(12, 60, Span(DAYS.begin, DAYS.begin + timedelta(days=1)))])
    rows = await weir.sql("SELECT * FROM ledger_entries")
    everything = [make_entry(**{name: row[name] for name in Entry._fields if name != "other_units"}) for row in rows]
    counts: dict[str, Count] = {"num_model_requests": requests, "output_tokens": count_of("output_tokens")}

    for width in WIDTHS:
        buckets = await ask(organization.usage.completions, **seconds(span), bucket_width=width)
        assert seen(buckets, [], counts) == expected(of("completions", everything), span, WIDTHS[width], [], counts)


async def test_two_ranges_side_by_side_are_as_much_as_both_in_one(
    weir: RunningWeir, organization: Any, entries: list[Entry]
) -> None:
    middle = DAYS.begin + timedelta(hours=31, minutes=7, seconds=11)
    method = organization.usage.completions

    def total(buckets: list[Any]) -> int:
        return sum(result.output_tokens for bucket in buckets for result in bucket.results)

    halves = [await ask(method, **seconds(part)) for part in (Span(DAYS.begin, middle), Span(middle, DAYS.end))]

    assert sum(map(total, halves)) == total(await ask(method, **seconds(DAYS)))


async def test_the_answer_has_every_call_that_is_committed(weir: RunningWeir, organization: Any) -> None:
    start_time = int(floor(utc_now(), "day").timestamp())
    method = organization.usage.completions

    for count in (1, 2, 3):
        async with weir.openai() as client:
            await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
        await weir.wiring.ledger.drain()
        answer = await method(start_time=start_time, group_by=["model", "api_key_id"])
        results = [result for bucket in answer.data for result in bucket.results]
        [result] = results
        assert result.num_model_requests == count
        assert result.project_id is None
        assert result.input_tokens == result.input_uncached_tokens == result.input_text_tokens > 0


async def test_without_an_end_the_range_ends_with_the_bucket_of_now(weir: RunningWeir, organization: Any) -> None:
    now = utc_now()
    start = floor(now, "hour") - timedelta(hours=3)

    answer = await organization.usage.embeddings(start_time=int(start.timestamp()), bucket_width="1h")

    ends = [bucket.end_time for bucket in answer.data]
    assert len(ends) in (4, 5)  # an hour may have ended meanwhile
    assert ends[3] == int((floor(now, "hour") + LENGTHS["hour"]).timestamp())
    assert not answer.has_more
    later = await organization.usage.embeddings(start_time=int((now + timedelta(days=400)).timestamp()))
    assert (later.data, later.has_more, later.next_page) == ([], False, None)


async def test_a_correction_is_no_request_and_its_tokens_count(weir: RunningWeir, organization: Any) -> None:
    swept = make_entry(settled_at=DAYS.begin, ending="orphaned", outcome="process_died", input_tokens=0)
    settled = swept._replace(settled_at=DAYS.begin + LENGTHS["hour"], input_tokens=12, ending="settled")
    await write_to(weir, [swept, settled._replace(cost_nano=-5_000, flags=("correction",))])  # type: ignore[arg-type]

    [bucket] = (await organization.usage.completions(**seconds(DAYS), limit=1)).data

    assert [(result.num_model_requests, result.input_tokens) for result in bucket.results] == [(1, 12)]


async def test_details_that_contradict_their_total_are_not_negative(weir: RunningWeir, organization: Any) -> None:
    await write_to(weir, [make_entry(settled_at=DAYS.begin, input_tokens=1, cached_input_tokens=5)])

    [bucket] = (await organization.usage.completions(**seconds(DAYS), limit=1)).data

    [result] = bucket.results
    assert (result.input_cached_tokens, result.input_uncached_tokens, result.input_text_tokens) == (5, 0, 0)


async def test_details_are_parts_that_add_up_to_the_total(weir: RunningWeir, organization: Any) -> None:
    units = {
        "cached_input_audio_tokens": 10,
        "input_image_tokens": 70,
        "cached_input_image_tokens": 20,
        "cache_write_12h_tokens": 30,
        "output_image_tokens": 5,
    }
    entry = make_entry(
        settled_at=DAYS.begin,
        input_tokens=1_000,
        cached_input_tokens=400,
        cache_write_tokens=100,
        input_audio_tokens=60,
        output_tokens=90,
        output_audio_tokens=15,
        other_units=units,
    )
    await write_to(weir, [entry])

    [bucket] = (await organization.usage.completions(**seconds(DAYS), limit=1)).data

    [result] = bucket.results
    assert result.input_cached_tokens + result.input_cache_write_tokens + result.input_uncached_tokens == 1_000
    assert (result.input_text_tokens, result.input_audio_tokens, result.input_image_tokens) == (400, 50, 50)
    cached = (result.input_cached_text_tokens, result.input_cached_audio_tokens, result.input_cached_image_tokens)
    assert cached == (370, 10, 20)
    assert (result.output_text_tokens, result.output_audio_tokens, result.output_image_tokens) == (70, 15, 5)
    assert result.input_cache_write_12h_tokens == 30


async def get(weir: RunningWeir, query: str, key: str | None = None) -> httpx.Response:
    async with weir.http(weir.admin_key if key is None else key) as client:
        return await client.get(f"{PATH}?{query}")


async def test_lists_are_read_with_brackets_and_without(weir: RunningWeir, entries: list[Entry]) -> None:
    range_ = "&".join(f"{name}={value}" for name, value in seconds(DAYS).items())

    for filters in (
        "project_ids=proj_0&project_ids=proj_1",
        "project_ids[]=proj_0&project_ids[]=proj_1",
        "project_ids%5B%5D=proj_0&project_ids%5b%5d=proj_1",
        "project_ids[]=proj_0&project_ids=proj_1",
    ):
        answer = await get(weir, f"{range_}&{filters}&group_by[]=project_id")

        projects = {result["project_id"] for bucket in answer.json()["data"] for result in bucket["results"]}
        assert projects == {"proj_0", "proj_1"}, filters


NONSENSE = [
    ("", "start_time"),
    ("start_time=yesterday", "start_time"),
    ("start_time=1.5", "start_time"),
    ("start_time=-1", "start_time"),
    ("start_time=99999999999", "start_time"),
    (f"start_time={'9' * 400}", "start_time"),
    ("start_time=100&end_time=100", "end_time"),
    ("start_time=100&end_time=99", "end_time"),
    ("start_time=100&end_time=1e9", "end_time"),
    ("start_time=0&bucket_width=1w", "bucket_width"),
    ("start_time=0&limit=0", "limit"),
    ("start_time=0&limit=32", "limit"),
    ("start_time=0&bucket_width=1h&limit=169", "limit"),
    ("start_time=0&bucket_width=1m&limit=1441", "limit"),
    ("start_time=0&bucket_width=1w&limit=9999", "bucket_width"),
    ("start_time=0&group_by=line_item", "group_by[0]"),
    ("start_time=0&group_by[]=model&group_by[]=nonsense", "group_by[1]"),
    ("start_time=0&models[]=a%00b", "models[0]"),
    ("start_time=0&models=", "models[0]"),
    ("start_time=0&" + "&".join(["models=a"] * 101), "models"),
    ("start_time=0&batch=perhaps", "batch"),
    ("start_time=0&project_id=proj_default", "project_id"),
    ("start_time=0&page=", "page"),
    ("start_time=0&page=page_", "page"),
    ("start_time=0&page=page_AAAA", "page"),
    ("start_time=0&page=nonsense!", "page"),
    ("start_time=0&page=%F0%9F%A6%AB", "page"),
    ("start_time=0&page=page__________8=", "page"),
    ("start_time=0&page=page_AAAAAAAAAAE=", "page"),
    ("start_time=172800&page=page_AAAAAAABUYA=", "page"),
    (f"start_time=0&page={'A' * 65}", "page"),
]


async def test_a_question_that_makes_no_sense_is_refused_by_the_name_of_what_is_wrong(weir: RunningWeir) -> None:
    for query, param in NONSENSE:
        answer = await get(weir, query)

        assert answer.status_code == 400, query
        error = answer.json()["error"]
        assert (error["param"], error["type"]) == (param, "invalid_request_error"), query


async def test_sizes_of_images_are_refused_as_nobody_knows_them(weir: RunningWeir, organization: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="not known") as caught:
        await organization.usage.images(start_time=0, sizes=["1024x1024"])
    assert caught.value.param == "sizes"


async def test_a_page_of_another_query_is_refused(weir: RunningWeir, organization: Any) -> None:
    method = organization.usage.completions
    answer = await method(**seconds(DAYS), bucket_width="1h", limit=1)

    with pytest.raises(openai.BadRequestError) as caught:
        await method(**seconds(DAYS), bucket_width="1d", page=answer.next_page)
    assert caught.value.param == "page"


async def test_an_api_key_is_refused(weir: RunningWeir) -> None:
    async with weir.openai(admin_api_key=weir.api_key) as client:
        for endpoint in ENDPOINTS:
            with pytest.raises(openai.PermissionDeniedError, match="admin key") as caught:
                await getattr(client.admin.organization.usage, endpoint)(start_time=0)
            assert caught.value.code == "insufficient_permissions"


_MANY_GROUPS = """
INSERT INTO usage_rollups
SELECT 'hour', timestamptz '2031-05-10 00:00Z' + make_interval(hours => hour), 'proj', NULL, 'key_' || number,
       'responses', 'm', NULL, 'completed', 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number
FROM (VALUES (2, 4000), (3, 5000), (4, 2000), (6, 11000), (8, 1)) AS busy (hour, keys),
     generate_series(1, keys) AS number
"""


async def test_a_page_of_very_many_groups_ends_earlier_and_the_next_ones_have_the_rest(
    weir: RunningWeir, organization: Any
) -> None:
    await weir.sql(_MANY_GROUPS)
    begin = int(datetime(2031, 5, 10, tzinfo=UTC).timestamp())
    question = {"start_time": begin, "end_time": begin + 10 * 3_600, "bucket_width": "1h", "limit": 24}
    question |= {"group_by": ["api_key_id"]}

    first = await organization.usage.completions(**question)
    assert [len(bucket.results) for bucket in first.data] == [0, 0, 4_000, 5_000]
    buckets = await ask(organization.usage.completions, **question)
    assert [len(bucket.results) for bucket in buckets] == [0, 0, 4_000, 5_000, 2_000, 0, 11_000, 0, 1, 0]
    assert [bucket.start_time for bucket in buckets] == list(range(begin, begin + 10 * 3_600, 3_600))
    whole = await organization.usage.completions(**question | {"group_by": []})
    assert (len(whole.data), whole.has_more) == (10, False)
