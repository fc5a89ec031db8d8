"""Keys can be told from other text, have too much entropy to guess, and are shown only in part."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys import tokens
from app.keys.tokens import KeyKind


@pytest.mark.parametrize("kind", get_args(KeyKind))
def test_a_minted_key_says_its_kind_and_is_plausible(kind: KeyKind) -> None:
    key = tokens.mint(kind)

    assert key.startswith({"api": "wk-", "admin": "wa-"}[kind])
    assert len(key) == 64
    assert tokens.is_plausible(key)
    assert len({tokens.mint(kind) for _ in range(100)}) == 100


@given(st.integers(0, 63), st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]))
def test_any_mistyped_character_of_a_minted_key_is_noticed(position: int, character: str) -> None:
    key = "wk-" + "0123456789AB" + "c" * 43
    key += tokens._checksum(key)
    typed = key[:position] + character + key[position + 1 :]

    if position > 2:  # what does not begin as ours do may be a key of another form
        assert tokens.is_plausible(typed) == (typed == key)


@given(st.text(max_size=600))
def test_what_cannot_travel_in_a_header_or_is_too_long_is_no_key(text: str) -> None:
    is_possible = 0 < len(text) <= 512 and all(" " <= character <= "~" for character in text)

    assert is_possible or not tokens.is_plausible(text)


@pytest.mark.parametrize("text", ["a" * 32, "sk-proj-abc", "wk-short", "~" * 512])
def test_a_key_of_another_form_is_plausible(text: str) -> None:
    assert tokens.is_plausible(text)


def test_a_digest_depends_on_every_part_and_is_not_the_key() -> None:
    digests = {tokens.digest(key, pepper) for key in ("one", "two") for pepper in (b"salt", b"pepper")}

    assert len(digests) == 4
    assert all(len(digest) == 32 for digest in digests)


def test_people_see_ten_characters_of_a_key_at_most() -> None:
    key = tokens.mint("api")

    assert tokens.redact(key) == f"{key[:7]}…{key[-2:]}"
