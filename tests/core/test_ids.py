"""Identifiers sort by time, cannot be guessed, and are recognised."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import is_request_id, new_id, new_uuid7

moments = st.integers(0, 2**48 - 1)


@given(moments)
def test_a_uuid_is_of_version_7_and_holds_its_moment(unix_ms: int) -> None:
    value = new_uuid7(unix_ms)

    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == unix_ms


@given(moments, moments)
def test_uuids_sort_by_time(one: int, other: int) -> None:
    earlier, later = sorted((one, other))

    assert earlier == later or new_uuid7(earlier) < new_uuid7(later)


def test_uuids_of_one_moment_differ() -> None:
    assert len({new_uuid7(1_700_000_000_000) for _ in range(1_000)}) == 1_000


def test_ids_carry_their_prefix_and_128_bits() -> None:
    prefix, _, digits = new_id("proj").partition("_")

    assert prefix == "proj"
    assert len(bytes.fromhex(digits)) == 16
    assert new_id("proj") != new_id("proj")


def test_our_own_ids_are_request_ids() -> None:
    assert is_request_id(new_id("req"))


@pytest.mark.parametrize("text", ["abcdefgh", "a" * 128, "01J-x.y:z_0", "8f14e45f-ceea-467f-a9d4-3b5e4c0a1b2c"])
def test_what_clients_commonly_send_is_a_request_id(text: str) -> None:
    assert is_request_id(text)


@pytest.mark.parametrize(
    "text", ["", "short12", "a" * 129, "-leading-dash", "with space", "line\nbreak", "abcdefgh\n", "ümlaut-id"]
)
def test_what_could_break_a_log_or_a_header_is_no_request_id(text: str) -> None:
    assert not is_request_id(text)
