"""Entries at random, and what they add up to by plain Python: the books that the database's sums are held against."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.core.db import Database
from app.core.ids import new_uuid7
from app.core.money import Nano
from app.ledger import repository
from app.ledger.entries import Entry
from app.ledger.rollup_service import RollupService
from app.ledger.spans import LENGTHS, Span, floor
from app.setting_groups import Ledger as LedgerSettings
from tests.ledger.conftest import make_entry

OPERATIONS = (
    "chat.completions",
    "completions",
    "responses",
    "responses.compact",
    "realtime",
    "embeddings",
    "moderations",
    "images.generations",
    "images.edits",
    "images.variations",
    "audio.speech",
    "audio.transcriptions",
    "audio.translations",
)
TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "input_audio_tokens", "output_tokens")
UNITS = ("images", "characters", "audio_seconds", "output_image_tokens", "cached_input_audio_tokens")


def random_entries(seed: int, count: int, span: Span) -> list[Entry]:
    """Return *count* entries settled in some of the seconds of *span*; some are corrections of others."""
    chance = random.Random(seed)
    seconds = [chance.randrange(int((span.end - span.begin).total_seconds())) for _ in range(40)]
    entries: list[Entry] = []
    for _ in range(count):
        settled_at = span.begin + timedelta(seconds=chance.choice(seconds), microseconds=chance.randrange(999_999))
        if chance.random() < 0.05:
            entries += _corrected(chance, settled_at)
        else:
            entries.append(_entry(chance, settled_at))
    return entries


def _entry(chance: random.Random, settled_at: datetime) -> Entry:
    started_at = settled_at - timedelta(microseconds=chance.randrange(2_000_000))
    model = f"model-{chance.randrange(3)}"
    outcome = chance.choice(["completed", "no_usage", "client_left", "upstream_refused"])
    return make_entry(
        id=new_uuid7(int(started_at.timestamp() * 1_000)),
        settled_at=settled_at,
        started_at=started_at,
        project_id=f"proj_{chance.randrange(3)}",
        user_id=chance.choice([None, "user_a", "user_b"]),
        key_id=f"key_{chance.randrange(4)}",
        operation=chance.choice(OPERATIONS),
        model=model,
        answered_model=chance.choice([None, f"{model}-2026"]),
        service_tier=chance.choice([None, "default", "batch", "flex"]),
        outcome=outcome,
        other_units=chance.choice([None, {name: chance.randrange(1, 1_000) for name in UNITS}]),
        cost_nano=0 if outcome == "upstream_refused" else chance.randrange(10 ** chance.randrange(1, 13)),
        **{name: chance.randrange(10_000) for name in TOKENS},
    )


def _corrected(chance: random.Random, settled_at: datetime) -> list[Entry]:
    """Return what a sweep has charged, and what the process that woke up gave back, perhaps in another minute."""
    swept = _entry(chance, settled_at)._replace(ending="orphaned", outcome="process_died", flags=("orphaned",))
    back = Nano(-chance.randrange(swept.cost_nano + 1))
    correction = swept._replace(
        settled_at=settled_at + timedelta(microseconds=1), cost_nano=back, ending="settled", flags=("correction",)
    )
    return [swept, correction]


def requests(entries: Iterable[Entry]) -> int:
    return sum("correction" not in entry.flags for entry in entries)


def cost(entries: Iterable[Entry]) -> int:
    return sum(entry.cost_nano for entry in entries)


def model_of(entry: Entry) -> str:
    """Return the name that *entry* is counted under."""
    is_unanswered = not entry.cost_nano and entry.outcome in ("upstream_refused", "upstream_broke", "client_left")
    return entry.answered_model or ("(unanswered)" if is_unanswered else entry.model)


def count_of(name: str) -> Callable[[Iterable[Entry]], int]:
    """Return what sums *name*, a column or one of the other units."""

    def total(entries: Iterable[Entry]) -> int:
        return sum((e.other_units or {}).get(name, 0) if name in UNITS else getattr(e, name) for e in entries)

    return total


async def write(db: Database, entries: Sequence[Entry]) -> None:
    async with db.hot_connection() as connection:
        await repository.insert_entries(connection, entries)


def open_rollups(db: Database) -> RollupService:
    return RollupService(db, LedgerSettings(rollup_interval_seconds=0.01))


async def rolled_up(db: Database) -> Counter[tuple[Any, ...]]:
    """Return requests, input tokens and cost of every group in the rollups, by their names."""
    async with db.hot_connection() as connection:
        rows = await connection.fetch(
            "SELECT width, starts_at, project_id, user_id, key_id, operation, model, service_tier, outcome,"
            " requests, input_tokens, characters, cost_nano FROM usage_rollups"
        )
    sums: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        for name in ("requests", "input_tokens", "characters", "cost_nano"):
            sums[(*row[:9], name)] += int(row[name])
    return sums


def sums_of(entries: Iterable[Entry]) -> Counter[tuple[Any, ...]]:
    """Return what `rolled_up` must be."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for e in entries:
        for width in LENGTHS:
            group = (e.project_id, e.user_id, e.key_id, e.operation, model_of(e), e.service_tier, e.outcome)
            key = (width, floor(e.settled_at, width), *group)
            sums[(*key, "requests")] += "correction" not in e.flags
            sums[(*key, "input_tokens")] += e.input_tokens
            sums[(*key, "characters")] += (e.other_units or {}).get("characters", 0)
            sums[(*key, "cost_nano")] += e.cost_nano
    return sums
