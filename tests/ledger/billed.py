"""A ledger in May 2031, asked about through the official SDK, and the answers by plain Python."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from app.core.db import Database
from app.core.health import Dependency
from app.ledger import repository
from app.ledger.entries import Entry
from app.ledger.spans import LENGTHS, Span, Width, steps
from tests.fixtures.weir import RunningWeir
from tests.ledger.books import model_of, write

DAYS = Span(datetime(2031, 5, 10, tzinfo=UTC), datetime(2031, 5, 13, tzinfo=UTC))
WIDTHS: dict[str, Width] = {"1m": "minute", "1h": "hour", "1d": "day"}
SOURCES = {
    "images.generations": "image.generation",
    "images.edits": "image.edit",
    "images.variations": "image.variation",
}
VALUES: dict[str, Callable[[Entry], Any]] = {
    "project_id": lambda entry: entry.project_id,
    "user_id": lambda entry: entry.user_id,
    "api_key_id": lambda entry: entry.key_id,
    "model": model_of,
    "line_item": model_of,
    "batch": lambda entry: entry.service_tier == "batch",
    "service_tier": lambda entry: entry.service_tier,
    "source": lambda entry: SOURCES.get(entry.operation),
    "size": lambda entry: None,
    "api_source": lambda entry: "unlabeled",
}
"""What an entry is grouped by."""

Count = Callable[[Iterable[Entry]], Any]
Books = dict[tuple[int, int], dict[tuple[Any, ...], dict[str, Any]]]
"""For each bucket's begin and end, for each group, each count."""


async def write_to(weir: RunningWeir, entries: Sequence[Entry]) -> None:
    """Write *entries* of any month, past the Weir that runs."""
    assert weir.settings.database_url is not None
    url = weir.settings.database_url.get_secret_value()
    db = Database(url, weir.settings.database, Dependency("database"))
    async with db.transaction() as tx:
        for moment in {entry.settled_at.replace(day=1) for entry in entries}:
            await repository.create_partitions(tx, moment, 1)
    await write(db, entries)
    await db.close()


async def ask(method: Callable[..., Awaitable[Any]], **question: Any) -> list[Any]:
    """Return the buckets of every page of the answer, following `next_page` by hand to the end."""
    buckets: list[Any] = []
    answer = await method(**question)
    while True:
        assert answer.object == "page"
        assert len(answer.data) <= question.get("limit", 1_440)
        buckets += answer.data
        assert answer.has_more == (answer.next_page is not None)
        if not answer.has_more:
            return buckets
        answer = await method(**question, page=answer.next_page)


def seen(buckets: Sequence[Any], group_by: Sequence[str], counts: Iterable[str]) -> Books:
    """Return what the SDK parsed, none of it twice."""
    books: Books = {}
    for bucket in buckets:
        assert bucket.object == "bucket"
        groups = books.setdefault((bucket.start_time, bucket.end_time), {})
        for result in bucket.results:
            for name in VALUES.keys() - set(group_by):
                assert getattr(result, name, None) is None, name
            key = tuple(getattr(result, name) for name in group_by)
            assert key not in groups
            groups[key] = {name: _value(result, name) for name in counts}
    assert len(books) == len(buckets)
    return books


def _value(result: Any, name: str) -> Any:
    for part in name.split("."):
        result = getattr(result, part)
    return result


def expected(
    entries: Iterable[Entry], span: Span, width: Width, group_by: Sequence[str], counts: dict[str, Count]
) -> Books:
    """Return what must be seen of *entries*."""
    books: Books = {}
    entries = list(entries)
    for bucket in steps(span, width):
        groups: defaultdict[tuple[Any, ...], list[Entry]] = defaultdict(list)
        for entry in entries:
            if bucket.begin <= entry.settled_at < bucket.end:
                groups[tuple(VALUES[name](entry) for name in group_by)].append(entry)
        sums = {key: {name: count(group) for name, count in counts.items()} for key, group in groups.items()}
        books[int(bucket.begin.timestamp()), int(bucket.end.timestamp())] = sums
    return books


def seconds(span: Span) -> dict[str, int]:
    """Return *span* as it is asked for."""
    return {"start_time": int(span.begin.timestamp()), "end_time": int(span.end.timestamp())}


__all__ = ["DAYS", "LENGTHS", "VALUES", "WIDTHS", "ask", "expected", "seconds", "seen", "write_to"]
