"""The `Idempotency-Key` header, read."""

import hashlib

import pytest

from app.errors import InvalidRequest
from app.idempotency.key import KeyClaim, read_key


@pytest.mark.parametrize("value", ["k", "x" * 255, 'a key, with "marks" and spaces', "ключ"])
def test_a_key_of_printable_characters_is_taken_as_it_is(value: str) -> None:
    fingerprint = hashlib.sha256(b"/chat/completions\0{}").digest()
    assert read_key([value], "key_test", "/chat/completions", b"{}") == KeyClaim("key_test", value, fingerprint)


@pytest.mark.parametrize("values", [[""], ["a", "a"], ["x" * 256], ["a\nb"]])
def test_a_refusal_names_the_header_and_its_rule(values: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="one value of 1 to 255 printable characters") as refused:
        read_key(values, "key_test", "/chat/completions", b"{}")
    assert refused.value.param == "Idempotency-Key"
