"""Durations as Go writes them."""

import pytest

from app.limits.headers import go_duration


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (120, "120ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_050, "1.05s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (3_600_500, "1h0m0.5s"),
        (86_400_000, "24h0m0s"),
        (90_061_001, "25h1m1.001s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(milliseconds: int, text: str) -> None:
    assert go_duration(milliseconds) == text
