"""The SQL that appends entries, for the statements that do so together with something else. Text only."""

from collections.abc import Sequence
from typing import Final

import orjson

from app.ledger.entries import Entry

_COLUMNS: Final = ", ".join(Entry._fields)

ROWS: Final = "SELECT * FROM json_populate_recordset(NULL::ledger_entries, ($1::text)::json)"
"""What `rows_of` makes of entries, as rows. One JSON text: thirty arrays would cost the gateway five times as much."""

# An entry that is already there is left alone, so that a batch whose commit was not acknowledged can be sent again
# without charging anybody twice.
INSERT: Final = f"""
INSERT INTO ledger_entries ({_COLUMNS}) SELECT {_COLUMNS} FROM entries WHERE (%s)
ON CONFLICT (id, settled_at) DO NOTHING
"""  # noqa: S608 - made of constants
"""Appends the rows of `entries`, a part of the same statement, under a condition."""

# Plain new rows, never merged with those that are there: `rollup_models.ledger_changes` says why.
MARK: Final = """
INSERT INTO ledger_changes (minute) SELECT DISTINCT date_trunc('minute', settled_at, 'UTC') FROM entries WHERE (%s)
"""
"""Marks the minutes of the rows of `entries` for the roll-up."""


def rows_of(entries: Sequence[Entry]) -> str:
    """Return $1: *entries* as JSON."""
    return orjson.dumps([entry._asdict() for entry in entries], default=str).decode()  # asyncpg has UUIDs of its own
