"""Entity tags, and what If-Match makes of them (RFC 9110, section 13.1.1)."""

import pytest

from app.core.version_tags import is_wanted, version_tag


@pytest.mark.parametrize(
    ("if_match", "knows"),
    [
        (None, True),
        ('"3"', True),
        ("*", True),
        ('"1", "3"', True),
        ('"1" ,"3" ', True),
        ('"1","2"', False),
        ("3", False),
        ('W/"3"', False),
        ("", False),
    ],
)
def test_only_who_knows_the_version_as_it_is_may_change_it(if_match: str | None, knows: bool) -> None:
    assert is_wanted(if_match, 3) is knows
    assert version_tag(3) == '"3"'
