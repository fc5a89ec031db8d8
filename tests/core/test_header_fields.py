"""Headers are found by their names, the first of repeated ones, and read as they were meant."""

import pytest

from app.core.header_fields import HeaderFields

RAW = [(b"accept", b"a"), (b"x-name", "Zo\xeb".encode()), (b"accept", b"b"), (b"x-broken", b"\xff")]


def test_the_first_of_repeated_headers_counts() -> None:
    fields = HeaderFields(RAW)

    assert fields["accept"] == fields.get("accept") == "a"
    assert sorted(fields) == ["accept", "x-broken", "x-name"]
    assert len(fields) == 3


def test_a_header_that_is_not_there_is_missing() -> None:
    fields = HeaderFields(RAW)

    assert fields.get("content-type") is None
    assert fields.get("content-type", "") == ""
    assert "content-type" not in fields
    assert "accept" in fields
    with pytest.raises(KeyError):
        fields["content-type"]


def test_what_is_not_ascii_is_read_as_asked() -> None:
    utf8 = HeaderFields(RAW, encoding="utf-8", errors="surrogateescape")

    assert (utf8["x-name"], utf8["x-broken"]) == ("Zo\xeb", "\udcff")
    assert HeaderFields(RAW).get("x-broken") == "\xff"
