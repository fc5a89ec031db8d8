"""Settings come from the environment, are checked before anything starts, and never show a secret."""

import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.setting_names import setting_names, unknown_variables
from app.settings import Settings, SettingsError, load_settings

STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
OWN_SECRETS = ["WEIR_KEYS__PEPPER", "WEIR_BOOTSTRAP_ADMIN_KEY", "WEIR_BOOTSTRAP_API_KEY"]
PRODUCTION = {
    "WEIR_ENVIRONMENT": "production",
    "WEIR_DATABASE_URL": "postgresql://weir:pw@db/weir",
    "WEIR_REDIS_URL": "redis://cache/0",
    "WEIR_KEYS__PEPPER": STRONG,
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("WEIR_", "OPENAI_")):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_weir_starts_without_any_variable() -> None:
    settings = load_settings()

    assert settings.environment == "development"
    assert settings.database_url is None


def test_nested_names_are_joined_by_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        WEIR_HTTP__BODY_SIZE_BYTES_MAX="2048",
        WEIR_HTTP__CORS_ORIGINS='["https://a.example"]',
        WEIR_DATA_DIR="d",
    )

    assert settings.http.body_size_bytes_max == 2048
    assert settings.http.cors_origins == ("https://a.example",)
    assert settings.data_dir == Path("d")


def test_the_first_upstream_is_read_from_openais_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="http://127.0.0.1:9/v1/")

    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-1"
    assert settings.openai_base_url == "http://127.0.0.1:9/v1"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, OPENAI_BASE_URL="", WEIR_SERVER__PORT="").server.port == 8000


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_every_wrong_value_is_named_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, WEIR_SERVER__PORT="70000", WEIR_LOG__LEVEL="loud", OPENAI_BASE_URL="ftp://x")

    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in sorted(lines)] == ["OPENAI_BASE_URL", "WEIR_LOG__LEVEL", "WEIR_SERVER__PORT"]
    assert "70000" in str(error.value)
    assert "65535" in str(error.value)


def test_an_unknown_name_inside_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="WEIR_SERVER__PROT"):
        load(monkeypatch, WEIR_SERVER__PROT="8000")


def test_a_list_that_is_not_json_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="JSON"):
        load(monkeypatch, WEIR_HTTP__TRUSTED_HOSTS="a.example")


@pytest.mark.parametrize("name", OWN_SECRETS)
@pytest.mark.parametrize("secret", ["tooshort", "has a space " + STRONG, "ümlaut" + STRONG])
def test_a_weak_secret_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, name: str, secret: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, **{name: secret})

    assert str(error.value).startswith(f"{name}: must ")
    assert secret not in str(error.value)


def test_secrets_are_not_in_the_printed_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch, **PRODUCTION, OPENAI_API_KEY="sk-upstream", WEIR_SENTRY__DSN="https://abc@sentry.example/1"
    )

    printed = repr(settings) + settings.model_dump_json()

    assert not [secret for secret in (STRONG, "sk-upstream", ":pw@", "abc@") if secret in printed]


def test_production_starts_with_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **PRODUCTION).environment == "production"


@pytest.mark.parametrize("name", ["WEIR_DATABASE_URL", "WEIR_REDIS_URL", "WEIR_KEYS__PEPPER"])
def test_production_refuses_to_start_without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: required in production"):
        load(monkeypatch, **(PRODUCTION | {name: ""}))


@pytest.mark.parametrize(
    "name", ["WEIR_KEYS__PEPPER", "WEIR_BOOTSTRAP_ADMIN_KEY", "WEIR_BOOTSTRAP_API_KEY", "OPENAI_API_KEY"]
)
def test_production_refuses_placeholders(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    placeholder = "ChangeMe-0123456789-0123456789-0123456789"

    with pytest.raises(SettingsError, match=f"{name}: looks like a placeholder") as error:
        load(monkeypatch, **(PRODUCTION | {name: placeholder}))

    assert placeholder not in str(error.value)


def test_development_takes_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, OPENAI_API_KEY="sk-example").openai_api_key is not None


def test_a_misspelt_variable_is_named_with_its_nearest_neighbour() -> None:
    environ = {"WEIR_DATABASEURL": "x", "WEIR_SERVER__PORT": "1", "PATH": "y", "WEIR_Q": "z"}

    assert unknown_variables(environ) == [
        "WEIR_DATABASEURL is not a setting; did you mean WEIR_DATABASE_URL?",
        "WEIR_Q is not a setting",
    ]


def test_setting_names_are_those_that_the_environment_is_read_by() -> None:
    names = list(setting_names())

    assert {"WEIR_DATABASE_URL", "WEIR_HTTP__TRUSTED_HOSTS", "OPENAI_API_KEY", "OPENAI_BASE_URL"} <= set(names)
    assert len(names) == len(set(names))
    assert not unknown_variables(dict.fromkeys(names, ""))


def test_what_is_several_is_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert load(monkeypatch, **PRODUCTION, WEIR_SECRETS__KEY=STRONG).secrets.key is not None
    with pytest.raises(SettingsError, match="WEIR_SECRETS__KEY: looks like a placeholder"):
        load(monkeypatch, WEIR_SECRETS__KEY=f"changeme-{STRONG}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WEIR_DATABASE_URL", "postgresql://weir:pa/ss-word@h/weir", "must be scheme://user:password@host:port/name"),
        ("WEIR_DATABASE_URL", "postgresql://weir:pa#ss-word@h/weir", "must be scheme://user:password@host:port/name"),
        ("WEIR_DATABASE_URL", "postgresql://weir:ss-word@h:54x32/weir", "a port of 1 to 65535"),
        ("WEIR_REDIS_URL", "redis://:ss-word@h:0/0", "a port of 1 to 65535"),
        ("WEIR_REDIS_URL", "redis://h:ss-word/0", "a port of 1 to 65535"),
        ("OPENAI_BASE_URL", "http://h:99999/v1", "a port of 1 to 65535"),
        ("OPENAI_BASE_URL", "http://", "must be such as https://api.example.org/v1"),
        ("OPENAI_BASE_URL", "https://h/v1?x=ss-word", "must be such as https://api.example.org/v1"),
        ("OPENAI_API_KEY", "  ", "must not be blank"),
        ("WEIR_SENTRY__DSN", "ss-word", "must be such as https://key@sentry.example.org/1"),
        ("WEIR_TRACING__OTLP_ENDPOINT", "collector:4318", "must start with http:// or https://"),
        ("WEIR_HTTP__TRUSTED_HOSTS", "[]", "at least 1 item"),
        ("WEIR_HTTP__TRUSTED_HOSTS", "a.example", 'a list is written as JSON: ["a", "b"] (given: \'a.example\')'),
        ("WEIR_KEYS__PREVIOUS_PEPPERS", "ss-word", 'a list is written as JSON: ["a", "b"]'),
        ("WEIR_REDIS__PASSWORD", "ss-word", "Extra inputs are not permitted"),
        ("WEIR_REDIS__AUTH_TOKEN", "ss-word", "Extra inputs are not permitted"),
        ("WEIR_IDENTITY__TOKEN_SERCET", "ss-word", "Extra inputs are not permitted"),
    ],
)
def test_a_value_that_could_not_be_used_is_refused_by_its_name_and_no_secret_is_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, **{name: value})

    assert str(refused.value).startswith(f"{name}: ")
    assert message in str(refused.value)
    assert "ss-word" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///weir?host=/run/postgresql",
        "postgres://weir:p%2Fw@h1:5432,h2:5433/weir?sslmode=require",
        "postgresql://weir:p@ss@[::1]:5432/weir",
        "postgresql://weir@db",
    ],
)
def test_every_address_that_a_driver_takes_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    redis = "unix:///run/valkey.sock?db=1"
    settings = load(monkeypatch, WEIR_DATABASE_URL=url, WEIR_REDIS_URL=redis, WEIR_KEYS__PEPPER=STRONG)

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url


def test_a_process_that_lives_is_not_taken_for_dead_between_two_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^WEIR_BUDGETS__LEASE_SECONDS: must be at least twice"):
        load(monkeypatch, WEIR_BUDGETS__HEARTBEAT_INTERVAL_SECONDS="8")
