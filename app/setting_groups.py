"""The groups of settings, one frozen group per feature: `WEIR_<GROUP>__<NAME>`; units stand in the names."""

from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.setting_values import (
    HeaderSecret,
    HttpAddress,
    IpNetwork,
    RoleName,
    Seconds,
    SecureAddress,
    SentryDsn,
    StrongSecret,
)

WORKERS_MAX: Final = 256


class Group(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Http(Group):
    """What Weir accepts from its clients."""

    body_size_bytes_max: int = Field(33_554_432, ge=1_024, le=1_073_741_824, description="Largest request body read.")
    upload_size_bytes_max: int = Field(
        1_073_741_824, ge=1_024, le=1_099_511_627_776, description="Largest upload: a body that passes through unread."
    )
    upload_timeout_seconds: Seconds = Field(30, description="Longest silence inside the body of a request.")
    header_size_bytes_max: int = Field(32_768, ge=4_096, le=65_536, description="Largest header section, in bytes.")
    header_count_max: int = Field(100, ge=20, le=1_000, description="Largest number of request headers.")
    trusted_hosts: tuple[str, ...] = Field(
        ("*",),
        min_length=1,
        description='Values of the Host header that are served; `*.example.org` and `*` work. JSON: `["a","b"]`.',
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins that browsers may call from; none by default.")
    gzip_size_bytes_min: int = Field(
        8_192, ge=256, description="Answers this long are compressed on request, but of metered calls."
    )


class Server(Group):
    """Where and how `weir serve` listens."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8000, ge=1, le=65_535, description="TCP port to listen on.")
    workers: int | None = Field(
        None,
        ge=1,
        le=WORKERS_MAX,
        description="Processes; several run under gunicorn. Unset: one per core; one in all with embedded servers.",
    )
    keep_alive_seconds: Seconds = Field(75, description="How long a client may be idle, or take to send a head.")
    shutdown_grace_seconds: Seconds = Field(30, description="How long open calls and settlements may take to drain.")
    trusted_proxies: tuple[IpNetwork, ...] = Field(
        (),
        description='Networks of the proxies whose `X-Forwarded-For` is believed, such as `["10.0.0.0/8"]`; none by '
        "default.",
    )
    socket_message_size_bytes_max: int = Field(
        16_777_216, ge=1_024, le=268_435_456, description="Longest message of a WebSocket, either way."
    )
    socket_ping_seconds: Seconds = Field(20, description="How often a WebSocket is pinged; a pong may take as long.")


class Database(Group):
    """Connections to PostgreSQL."""

    pool_size: int = Field(10, ge=1, le=500, description="Connections per process for everything but calls.")
    hot_pool_size: int = Field(5, ge=2, le=100, description="Connections per process for what calls wait for.")
    connect_timeout_seconds: Seconds = Field(5, description="Longest wait for a connection to be made.")
    pool_timeout_seconds: Seconds = Field(5, description="Longest wait for a free connection.")
    statement_timeout_seconds: Seconds = Field(10, description="Longest run of one statement.")
    lock_timeout_seconds: Seconds = Field(5, description="Longest wait for a lock; migrations use it too.")


class Redis(Group):
    """Connections to Redis or Valkey."""

    timeout_seconds: Seconds = Field(0.25, description="Longest wait for an answer or a connection.")


class Keys(Group):
    """API keys."""

    pepper: StrongSecret | None = Field(
        None,
        description="Secret of 32 characters or more that keys are hashed with. Made and kept in the data directory by "
        "an embedded database; required with `WEIR_DATABASE_URL`, the same for every replica.",
    )
    previous_peppers: tuple[StrongSecret, ...] = Field(
        (), description="Peppers that keys may still be hashed with: a key that is used comes under `pepper`."
    )
    cache_seconds: Seconds = Field(30, description="How long a key is believed without asking the database again.")
    cache_entries_max: int = Field(10_000, ge=1, le=1_000_000, description="Keys remembered per process.")
    unknown_keys_per_minute: int = Field(
        30, ge=1, le=1_000_000, description="Unknown keys looked up per client address; more are refused unseen."
    )
    last_used_interval_seconds: Seconds = Field(10, description="How often it is written which keys were used.")


class Identity(Group):
    """People: passwords, sessions, invites."""

    token_secret: StrongSecret | None = Field(
        None,
        description="Secret of 32 characters or more that access tokens are signed with, the same for every replica; "
        "unset, one is derived from the pepper of keys.",
    )
    previous_token_secrets: tuple[StrongSecret, ...] = Field(
        (), max_length=10, description="Secrets whose tokens are still believed, while `TOKEN_SECRET` is replaced."
    )
    access_token_seconds: int = Field(600, ge=60, le=3_600, description="How long an access token works.")
    refresh_token_seconds: int = Field(
        1_209_600, ge=600, le=31_536_000, description="How long somebody stays signed in without using it."
    )
    session_seconds: int = Field(
        2_592_000, ge=600, le=31_536_000, description="How long somebody stays signed in at most."
    )
    sessions_remembered_max: int = Field(10_000, ge=1, le=1_000_000, description="Sessions remembered per process.")
    invite_seconds: int = Field(604_800, ge=600, le=31_536_000, description="How long an invite can be accepted.")
    password_characters_min: int = Field(12, ge=8, le=64, description="Fewest characters of a new password.")
    password_memory_kib: int = Field(
        65_536, ge=8_192, le=1_048_576, description="Memory that hashing one password takes: more is safer and slower."
    )
    password_threads: int = Field(2, ge=1, le=64, description="Passwords that a process hashes at once, one a core.")
    attempts_per_account: int = Field(10, ge=1, le=10_000, description="Attempts to sign in to one account a window.")
    attempts_per_address: int = Field(
        100, ge=1, le=1_000_000, description="Failed attempts to sign in from one address (IPv6: one /64) a window."
    )
    attempts_window_seconds: int = Field(300, ge=1, le=86_400, description="Length of that window.")


class Oidc(Group):
    """An OpenID Connect provider whose tokens are accepted; off until an issuer is set."""

    issuer: SecureAddress | None = Field(
        None, description="Address of the provider, exactly as its tokens and its discovery document have it."
    )
    audience: str | None = Field(None, description="What the tokens' `aud` must have; required with an issuer.")
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"], ...] = Field(
        ("RS256", "ES256"), min_length=1, description="Algorithms that its tokens may be signed with."
    )
    email_claim: str = Field("email", description="Claim that has the e-mail address.")
    name_claim: str = Field("name", description="Claim that has the name.")
    role_claim: str | None = Field(None, description="Claim whose values choose the role in the organization.")
    role_map: dict[str, RoleName] = Field(
        {}, description='Values of that claim, the strongest role first: `{"weir-admins": "admin"}`.'
    )
    project_claim: str | None = Field(None, description="Claim whose values choose roles in projects.")
    project_map: dict[str, dict[str, RoleName]] = Field(
        {}, description='Values of that claim: `{"research": {"proj_123": "member"}}`.'
    )
    provision: bool = Field(
        default=False, description="Make a person of whoever the provider vouches for; otherwise they must exist."
    )
    provision_unverified_email: bool = Field(
        default=False,
        description="Do so also if the provider does not call the e-mail address verified, as Entra ID never does.",
    )
    refetch_interval_seconds: Seconds = Field(30, description="Shortest time between two fetches of the keys.")
    keys_lifetime_seconds: Seconds = Field(3_600, description="How long keys are believed without fetching them again.")
    timeout_seconds: Seconds = Field(5, description="Longest wait for the provider.")

    @model_validator(mode="after")
    def _has_an_audience(self) -> "Oidc":
        if self.issuer is not None and not self.audience:
            raise ValueError("WEIR_OIDC__AUDIENCE: required with WEIR_OIDC__ISSUER, or tokens for others would do")
        return self


class Upstream(Group):
    """How long upstreams may take."""

    connect_timeout_seconds: Seconds = Field(5, description="Longest wait for a connection.")
    failover_connect_timeout_seconds: Seconds = Field(
        0.5, description="The same while another upstream could take the call, if that is shorter."
    )
    first_byte_timeout_seconds: Seconds = Field(540, description="Longest wait for the answer to begin.")
    between_chunks_timeout_seconds: Seconds = Field(120, description="Longest silence inside an answer.")
    total_timeout_seconds: Seconds = Field(3_600, description="Longest duration of one call.")
    connections_max: int = Field(1_000, ge=1, le=100_000, description="Open connections per process.")
    answer_size_bytes_max: int = Field(67_108_864, ge=65_536, description="Largest plain answer that is relayed.")


class Ledger(Group):
    """The record of every call."""

    queue_entries_max: int = Field(10_000, ge=1, description="Entries waiting for the database; more calls answer 503.")
    partitions_months_ahead: int = Field(3, ge=1, le=24, description="Monthly partitions made ahead of time.")
    rollup_interval_seconds: Seconds = Field(10, description="How often new entries are added to the usage totals.")


class Budgets(Group):
    """Reservations: what is promised before a call is sent."""

    reserve_wait_ms: int = Field(500, ge=0, le=60_000, description="How long a call waits for holds to come back.")
    output_tokens_default: int = Field(
        16_384, ge=1, le=1_000_000, description="Output cap of a call under a budget that names no maximum itself."
    )
    output_tokens_min: int = Field(
        256, ge=1, le=1_000_000, description="Least output cap of such a call; where that does not fit, it is refused."
    )
    heartbeat_interval_seconds: Seconds = Field(5, description="How often a process says that it is alive.")
    check_interval_seconds: Seconds = Field(3_600, description="How often budgets and totals are checked against it.")
    withhold_estimates: bool = Field(
        default=True,
        description="Do not spend again what a broken or abandoned call may have cost beyond its estimate.",
    )
    lease_seconds: Seconds = Field(15, description="Silence after which a process is dead, and others charge its calls")

    @model_validator(mode="after")
    def _outlives_a_lost_heartbeat(self) -> "Budgets":
        if self.lease_seconds < 2 * self.heartbeat_interval_seconds:
            raise ValueError(
                "WEIR_BUDGETS__LEASE_SECONDS: must be at least twice WEIR_BUDGETS__HEARTBEAT_INTERVAL_SECONDS, or "
                "processes that live are taken for dead, and their calls charged at their ceilings"
            )
        return self


class Idempotency(Group):
    """Answers that are kept for repeated requests with the same `Idempotency-Key`."""

    lifetime_seconds: Seconds = Field(86_400, description="How long an answer is kept, in the database.")
    answer_size_bytes_max: int = Field(
        8_388_608, ge=1_024, le=268_435_456, description="Longest answer that is kept; of a longer one the key is free."
    )


class Reconciliation(Group):
    """The daily comparison of the ledger with the provider's own costs; off until an admin key is set."""

    admin_api_key: HeaderSecret | None = Field(
        None, description="Admin key of the provider's organization, with which its costs are read."
    )
    base_url: HttpAddress | None = Field(None, description="Its API; unset, `OPENAI_BASE_URL`.")
    tolerance_usd: Decimal = Field(
        Decimal("0.01"), ge=0, le=1_000_000, description="Difference of a line item in a day that needs no warning."
    )


class Log(Group):
    """Structured logs on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line written.")
    format: Literal["auto", "json", "console"] = Field("auto", description="`auto`: console on a terminal, else JSON.")


class Tracing(Group):
    """OpenTelemetry; off until an endpoint is set."""

    otlp_endpoint: HttpAddress | None = Field(None, description="OTLP/HTTP endpoint, such as `http://collector:4318`.")
    sample_ratio: float = Field(0.01, ge=0, le=1, description="Share of calls traced when the caller did not decide.")


class Sentry(Group):
    """Sentry; off until a DSN is set."""

    dsn: SentryDsn | None = Field(None, description="Where unforeseen errors are reported.")
    environment: str = Field("production", description="Environment that reports are filed under.")


class Simulator(Group):
    """The built-in demo upstream for models named `sim-*`."""

    mode: Literal["auto", "on", "off"] = Field("auto", description="`auto`: on while no `OPENAI_API_KEY` is set.")
