"""Secrets at rest: what was encrypted comes back only whole, for the same row, and under a key that is configured."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from app.core.crypto import CannotDecrypt, SecretBox, derive_key

OLD, NEW = derive_key(b"an old secret", b"tests"), derive_key(b"a new secret", b"tests")
SECRET = "sk-planted-secret"


@given(st.text(), st.text())
def test_a_secret_comes_back_as_it_was(secret: str, row: str) -> None:
    sealed = SecretBox([NEW]).encrypt(secret, row)
    assert SecretBox([NEW]).decrypt(sealed, row) == secret


def test_the_same_secret_never_looks_the_same_and_never_shows() -> None:
    box = SecretBox([NEW])
    sealed = {box.encrypt(SECRET, "row_1") for _ in range(100)}
    assert len(sealed) == 100
    assert not any(SECRET.encode() in each for each in sealed)


def test_a_secret_that_was_moved_to_another_row_cannot_be_decrypted() -> None:
    box = SecretBox([NEW])
    with pytest.raises(CannotDecrypt, match="belongs to something else"):
        box.decrypt(box.encrypt(SECRET, "row_1"), "row_2")


@pytest.mark.parametrize("place", range(0, 1 + 4 + 12 + len(SECRET) + 16, 3))
def test_no_bit_can_be_changed(place: int) -> None:
    box = SecretBox([NEW])
    sealed = bytearray(box.encrypt(SECRET, "row_1"))
    sealed[place] ^= 1
    with pytest.raises(CannotDecrypt) as caught:
        box.decrypt(bytes(sealed), "row_1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 5, 16, 17, 20])
def test_no_byte_can_be_missing(length: int) -> None:
    box = SecretBox([NEW])
    with pytest.raises(CannotDecrypt):
        box.decrypt(box.encrypt(SECRET, "row_1")[:length], "row_1")


def test_a_previous_key_still_decrypts_and_the_current_one_encrypts() -> None:
    sealed = SecretBox([OLD]).encrypt(SECRET, "row_1")
    both = SecretBox([NEW, OLD])

    assert both.decrypt(sealed, "row_1") == SECRET
    assert not both.is_current(sealed)
    renewed = both.encrypt(SECRET, "row_1")
    assert both.is_current(renewed)
    assert SecretBox([NEW]).decrypt(renewed, "row_1") == SECRET
    with pytest.raises(CannotDecrypt, match="a key that is not configured"):
        SecretBox([NEW]).decrypt(sealed, "row_1")


def test_a_key_that_is_named_twice_is_the_same_key() -> None:
    assert SecretBox([NEW, OLD, NEW]).is_current(SecretBox([NEW]).encrypt(SECRET, "row_1"))


def test_keys_for_two_purposes_have_nothing_in_common() -> None:
    keys = {derive_key(b"one secret", purpose) for purpose in (b"a", b"b")}
    assert [len(key) for key in keys] == [32, 32]


@given(st.binary(min_size=1), st.binary())
def test_a_key_is_derived_as_rfc_5869_says(secret: bytes, purpose: bytes) -> None:
    assert derive_key(secret, purpose) == HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret)
