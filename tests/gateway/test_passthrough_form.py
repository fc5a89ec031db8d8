"""What a form names is found however it comes in pieces, and looking does not take longer for smaller ones."""

import pytest

from app.errors import InvalidRequest
from app.gateway.passthrough_form import FormWatch

FILE = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0" * 50_000 + b"\r\n"
NAMES = b'--x\r\ncontent-disposition: form-data; name="file_id"\r\n\r\nfile-1\r\n--x--\r\n'
SIZES_BYTES = [1, 1_000, 8_191, 8_192, 100_000]


def bring(form: bytes, size_bytes: int, passed: list[bytes]) -> None:
    """Bring *form* in pieces, and note in *passed* what passes."""
    watch = FormWatch()
    for at in range(0, len(form), size_bytes):
        looked_at = watch.look(form[at : at + size_bytes])
        passed += [looked_at] if looked_at else []
    passed.append(watch.rest())


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_all_of_a_form_passes_in_its_order_and_in_few_pieces(size_bytes: int) -> None:
    passed: list[bytes] = []
    bring(FILE, size_bytes, passed)

    assert b"".join(passed) == FILE
    assert len(passed) <= len(FILE) // 8_192 + 2  # each was one look


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
@pytest.mark.parametrize("before", [b"", FILE], ids=["first", "later"])
def test_a_field_that_names_what_is_stored_does_not_pass(before: bytes, size_bytes: int) -> None:
    passed: list[bytes] = []
    with pytest.raises(InvalidRequest):
        bring(before + NAMES, size_bytes, passed)

    assert NAMES not in b"".join(passed)
    assert (before + NAMES).startswith(b"".join(passed))
