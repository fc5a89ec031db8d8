import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability.redaction import REDACTED, is_secret_name, redact_text, redact_value

KEY = "wk-AbCdEf0123456789"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Proxy-Authorization",
        "api_key",
        "X-Api-Key",
        "openai_api_key",
        "apiKey",
        "token",
        "accessToken",
        "password",
        "client_secret",
        "Cookie",
        "set-cookie",
        "dsn",
        "database_url",
        "WEIR_REDIS_URL",
        "pepper",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["input_tokens", "key_id", "model", "idempotency_key", "url", "route", "secretary"])
def test_names_of_other_things_are_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} was used", KEY),
        ("sk-proj-abcdefghijkl", "sk-proj-abcdefghijkl"),
        ("wa-0123456789", "wa-0123456789"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("sent 'bearer   abcdefgh12345678'", "abcdefgh12345678"),
        ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
        ("postgresql://weir:p@ss/w:rd@db.test/weir", "p@ss/w:rd"),
        ("redis://:hunter2@localhost:6379/0 is away", "hunter2"),
        ("host=db password=hunter2 user=weir", "hunter2"),
        ("{'password': 'hunter two', 'user': 'x'}", "hunter two"),
        ('{"client_secret":"hunter2"}', "hunter2"),
        (r"'{\"api_key\": \"hunter2\"}'", "hunter2"),
        ("cookie: session=abc; theme=dark", "session=abc"),
        ("/callback?state=1&access_token=abcdef", "abcdef"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nabcd\n-----END PRIVATE KEY-----\n", "MIIE"),
        ("cut: -----BEGIN RSA PRIVATE KEY-----\\nMIIE", "MIIE"),
    ],
)
def test_values_that_look_like_secrets_are_taken_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact_text(text)
    assert REDACTED in redact_text(text)
    assert secret not in redact_text("x" * 500 + " " + text)


@pytest.mark.parametrize(
    "text",
    [
        "/v1/chat/completions",
        "gpt-5-mini-2026-01-01",
        "ft:gpt-4.1:team::abc",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "invalid token: expected a number",
        "max_tokens=5, input_tokens=3",
        "a desk-lamp, sk-learn and a risk-averse basic test",
        "http://localhost:8000/v1",
        "2026-11-22T10:00:00Z",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


def test_the_host_and_the_user_of_an_address_stay_readable() -> None:
    assert redact_text("postgresql://weir:x@db.test:5432/weir") == f"postgresql://weir:{REDACTED}@db.test:5432/weir"


def test_trees_are_redacted_all_the_way_down() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    tree = {"list": [{"token": KEY, "text": f"a {KEY}"}, (KEY,)], "n": 1, "at": moment, 5: {KEY}, "raw": KEY.encode()}
    redacted = redact_value(tree)
    assert KEY not in repr(redacted)
    assert redacted["list"][0] == {"token": REDACTED, "text": f"a {REDACTED}"}
    assert (redacted["n"], redacted["at"]) == (1, moment)


def test_a_tree_that_holds_itself_ends() -> None:
    tree: list[object] = []
    tree.append(tree)
    assert REDACTED in repr(redact_value(tree))


def test_a_value_that_cannot_be_shown_is_named() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError(KEY)

    assert redact_value(Broken()) == "<Broken>"


@given(
    st.text(max_size=200),
    st.from_regex(re.compile(r"(wk|wa|sk)-[A-Za-z0-9_-]{6,60}"), fullmatch=True),
    st.text(max_size=200),
)
def test_a_key_never_survives_whatever_stands_around_it(before: str, key: str, after: str) -> None:
    assert key not in redact_text(f"{before} {key} {after}")
