"""The settings of upstreams and of the key for their credentials are checked before anything starts."""

import os
from ipaddress import ip_network

import pytest

from app.settings import Settings, SettingsError, load_settings

STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("WEIR_", "OPENAI_")):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_they_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        WEIR_UPSTREAMS__FALLBACK_MODELS='{"gpt-4o": ["gpt-4o-mini", "local"]}',
        WEIR_UPSTREAMS__ALLOWED_NETWORKS='["10.1.0.0/16", "fd00::/8"]',
        WEIR_UPSTREAMS__ALLOW_PRIVATE_ADDRESSES="true",
    ).upstreams
    assert settings.fallback_models == {"gpt-4o": ("gpt-4o-mini", "local")}
    assert settings.allowed_networks == (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert settings.allow_private_addresses


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '{"a": []}'}, "FALLBACK_MODELS: 'a' has no model to fall back to"),
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '{"a": ["b", "a"]}'}, "FALLBACK_MODELS: 'a' must fall back to other"),
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '{"a": ["b", "b"]}'}, "FALLBACK_MODELS: 'a' must fall back to other"),
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '{"a": ["b", "c", "d", "e", "f", "g"]}'}, "FALLBACK_MODELS"),
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '{"": ["b"]}'}, "FALLBACK_MODELS"),
        ({"WEIR_UPSTREAMS__FALLBACK_MODELS": '["a"]'}, "FALLBACK_MODELS"),
        ({"WEIR_UPSTREAMS__ALLOWED_NETWORKS": '["10.1.0.1/16"]'}, "ALLOWED_NETWORKS"),
        ({"WEIR_SECRETS__KEY": "short"}, "WEIR_SECRETS__KEY: must have 32 characters or more"),
        ({"WEIR_SECRETS__PREVIOUS_KEYS": '["short"]'}, "WEIR_SECRETS__PREVIOUS_KEYS"),
    ],
)
def test_a_value_that_cannot_be_meant_stops_the_start_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **variables)
    assert message in str(caught.value)
    assert "short" not in str(caught.value)


def test_production_refuses_a_placeholder_for_the_key_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    production = {
        "WEIR_ENVIRONMENT": "production",
        "WEIR_DATABASE_URL": "postgresql://weir:pw@db/weir",
        "WEIR_REDIS_URL": "redis://cache/0",
        "WEIR_KEYS__PEPPER": STRONG,
    }
    assert load(monkeypatch, **production, WEIR_SECRETS__KEY=STRONG).secrets.key is not None
    with pytest.raises(SettingsError, match="WEIR_SECRETS__KEY: looks like a placeholder"):
        load(monkeypatch, WEIR_SECRETS__KEY=f"changeme-{STRONG}")
