"""The table of failures names a test in each row, and each of them is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/reference/failures.md").read_text("utf-8")


def test_every_row_of_the_table_of_failures_has_its_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith(("| cause", "|---"))]
    named = [re.search(r"`(test_\w+)` \|$", row) for row in rows]
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(rows) >= 30
    assert [row for row, match in zip(rows, named, strict=True) if match is None] == []
    missing = [match[1] for match in named if match and f"def {match[1]}(" not in sources]
    assert missing == []
