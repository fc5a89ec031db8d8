"""The page about the audit log names every event that is recorded."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.source import ROOT, modules

EVENT = re.compile(r"[a-z_]+\.[a-z_]+")


def recorded_events() -> Iterator[str]:
    """Yield every event that is named in a call of `record` or of what wraps it."""
    for module in modules("app"):
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not re.search("record|audit", ast.unparse(node.func)):
                continue
            for argument in node.args[1:2]:
                if isinstance(argument, ast.Constant) and EVENT.fullmatch(str(argument.value)):
                    yield str(argument.value)


def test_every_event_is_on_the_page() -> None:
    events = set(recorded_events())
    assert {"api_key.created", "budget.created", "login.failed", "project.created"} <= events
    rows = [line for line in (ROOT / "docs" / "audit.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    documented = {event for row in rows for event in shown(row)}
    assert events <= documented


def shown(row: str) -> Iterator[str]:
    """Yield the events in a row of the table, where `.updated` goes on with the object before it."""
    subject = ""
    for name in re.findall(r"`([a-z_.]+)`", row):
        subject = name.partition(".")[0] or subject
        yield f"{subject}.{name.partition('.')[2]}"
