import json
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from pydantic import SecretStr
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from app.observability import sentry
from app.setting_groups import Sentry

KEY = "wk-AbCdEf0123456789"
SETTINGS = Sentry(dsn=SecretStr("https://public@sentry.test/1"), environment="staging")


class Memory(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [json.loads(item.get_bytes()) for item in envelope.items if item.type == "event"]


@pytest.fixture
def sent() -> Iterator[Memory]:
    memory = Memory()
    sentry.init(SETTINGS, release="weir@1", transport=memory)
    yield memory
    sentry.close()


def fail(password: str) -> None:
    local = f"secret local {password}"
    raise ValueError(f"{local}: Authorization: Bearer {KEY}")


def test_a_bug_is_reported_under_its_request_id_without_secrets_or_locals(sent: Memory) -> None:
    try:
        fail("hunter2 " + KEY)
    except ValueError as error:
        sentry.capture(error, "req_1")
    (event,) = sent.events
    assert event["tags"] == {"request_id": "req_1"}
    assert event["environment"] == "staging"
    assert event["release"] == "weir@1"
    assert event["exception"]["values"][0]["type"] == "ValueError"
    text = json.dumps(event)
    assert KEY not in text
    assert "vars" not in text
    assert not event.keys() & {"request", "user", "breadcrumbs", "server_name", "modules"}


def test_requests_and_local_variables_that_others_add_are_dropped(sent: Memory) -> None:
    frame = {"filename": "x.py", "vars": {"password": "hunter2"}}
    sentry_sdk.capture_event(
        {
            "request": {"headers": {"authorization": KEY}},
            "exception": {"values": [{"type": "E", "stacktrace": {"frames": [frame]}}, {"type": "F"}]},
            "contexts": {"call": {"api_key": "hunter2"}},
        }
    )
    sentry_sdk.capture_message(f"plain {KEY}")
    assert "hunter2" not in json.dumps(sent.events)
    assert KEY not in json.dumps(sent.events)
    assert len(sent.events) == 2


def test_nothing_is_reported_without_a_dsn() -> None:
    sentry.init(Sentry())
    sentry.capture(ValueError(), "req_1")
    assert not sentry_sdk.is_initialized()


def test_nothing_is_reported_after_closing(sent: Memory) -> None:
    sentry.close()
    sentry.capture(ValueError(), "req_1")
    assert sent.events == []
