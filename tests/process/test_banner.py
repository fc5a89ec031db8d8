"""What a person reads at the start."""

from typing import Any

import pytest
from pydantic import SecretStr

from app.banner import banner
from app.first_run import FirstKeys
from app.keys.record import MintedKey
from app.settings import Settings

_KEYS = FirstKeys(
    MintedKey("key_1", "wa-the-admin-key", "admin", None), MintedKey("key_2", "wk-the-api-key", "api", "p")
)


def _settings(host: str = "127.0.0.1", **changes: Any) -> Settings:
    settings = Settings()
    return settings.model_copy(update={"server": settings.server.model_copy(update={"host": host}), **changes})


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
        ("weir.example.org", "http://weir.example.org:8000"),
    ],
)
def test_the_address_is_one_that_a_client_can_connect_to(host: str, address: str) -> None:
    text = banner(_settings(host), _KEYS)
    assert f"listens on {address}\n" in text
    assert f"{address}/docs" in text
    assert f"curl -i {address}/v1/chat/completions" in text
    assert f'base_url="{address}/v1"' in text


def test_keys_are_shown_when_they_were_made_now() -> None:
    assert "wa-the-admin-key" in banner(_settings(), _KEYS)
    assert "wk-the-api-key" in banner(_settings(), _KEYS)
    assert "wk-" not in banner(_settings(), None)


def test_keys_that_were_given_are_named_and_not_repeated() -> None:
    given: dict[str, Any] = {
        "bootstrap_admin_key": SecretStr("wa-the-admin-key"),
        "bootstrap_api_key": SecretStr("wk-the-api-key"),
    }
    text = banner(_settings(**given), _KEYS)
    assert "the-a" not in text.replace("the api key", "")
    assert 'os.environ["WEIR_BOOTSTRAP_API_KEY"]' in text
    assert text.index("import os") < text.index("from openai")


def test_the_first_call_is_for_a_model_that_answers() -> None:
    assert '"sim-small"' in banner(_settings(), _KEYS)
    assert "OPENAI_API_KEY is not set" in banner(_settings(), _KEYS)
    with_upstream = banner(_settings(openai_api_key=SecretStr("sk-x")), _KEYS)
    assert '"gpt-4o-mini"' in with_upstream
    assert "OPENAI_API_KEY" not in with_upstream


def test_lines_to_copy_begin_in_the_first_column() -> None:
    lines = banner(_settings(), _KEYS).splitlines()
    program = lines[lines.index("from openai import OpenAI") :]
    program = program[: program.index("")]
    compile("\n".join(program), "banner", "exec")
