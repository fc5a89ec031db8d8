"""What PostgreSQL did for every statement, as its module `auto_explain` logs it, and how much of a table it read."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

OPTIONS: Final = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",  # foreign keys look for rows too
    "log_line_prefix": "",
    "max_parallel_workers_per_gather": "0",  # who scans in parallel scans too
    "jit": "off",
}
"""What a server is started with so that it logs every plan, with the rows that each step has read."""
TABLES: Final = """
SELECT part.relname AS name, coalesce(whole.relname, part.relname) AS whole, part.reltuples::bigint AS rows
FROM pg_class AS part LEFT JOIN pg_inherits ON inhrelid = part.oid LEFT JOIN pg_class AS whole ON whole.oid = inhparent
WHERE part.relkind = 'r' AND part.relnamespace = 'public'::regnamespace
"""
"""Every table or partition, the table that it is or is a part of, and how many rows it has."""
_LARGE_ROWS: Final = 10_000
_SHARE_MAX: Final = 0.05
_ROWS_MAX: Final = 1_000
"""A month that has just begun has few rows, and reading all of them is the fastest."""
_LOGGED: Final = re.compile(r"^LOG:  duration: [0-9.]+ ms  plan:\n((?:\t.*\n)+)", re.MULTILINE)


class Scan(NamedTuple):
    """One scan of one table, all its partitions together."""

    kind: str
    table: str
    rows_read: int
    """Also those that it has looked at in vain."""


class Plan(NamedTuple):
    """One statement that was run."""

    statement: str
    parameters: str
    scans: list[Scan]
    parts: set[str]
    """The tables and partitions that it has looked into."""


class Log:
    """The log of a server, read on and on; *tables* are what the query of that name has found."""

    def __init__(self, path: Path, tables: Iterable[Mapping[str, Any]]) -> None:
        self._path = path
        self._whole = {table["name"]: table["whole"] for table in tables}
        rows = Counter[str]()
        for table in tables:
            rows[table["whole"]] += max(0, table["rows"])
        self.large = {name: count for name, count in rows.items() if count >= _LARGE_ROWS}
        """How many rows the large tables have."""
        self._offset = path.stat().st_size

    def offences(self, plan: Plan) -> list[str]:
        """Return what *plan* did that takes longer the larger a table is."""
        return [
            f"{scan.kind} of {scan.table} read {scan.rows_read} of its {self.large[scan.table]} rows"
            for scan in plan.scans
            if scan.table in self.large
            and scan.rows_read > (_ROWS_MAX if scan.kind == "Seq Scan" else _SHARE_MAX * self.large[scan.table])
        ]

    def read(self) -> list[Plan]:
        """Return what was run since this was asked last."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        return [self._plan(json.loads(found[1])) for found in _LOGGED.finditer(new.decode())]

    def _plan(self, logged: dict[str, Any]) -> Plan:
        rows, parts = Counter[tuple[str, str]](), set()
        for node in _nodes(logged["Plan"]):
            if node["Node Type"].endswith("Scan") and "Relation Name" in node and node["Actual Loops"]:
                parts.add(node["Relation Name"])
                rows[node["Node Type"], self._whole.get(node["Relation Name"], "")] += round(_rows_read(node))
        statement = " ".join(logged["Query Text"].split())
        scans = [Scan(kind, table, count) for (kind, table), count in rows.items()]
        return Plan(statement, logged.get("Query Parameters", ""), scans, parts)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> float:
    in_vain = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + in_vain) * node["Actual Loops"])
