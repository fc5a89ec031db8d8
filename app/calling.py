"""Builds what answers calls: metered ones, those that pass through, sockets, and what upstreams keep for callers."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from app.answers.answer import AnswerBox
from app.answers.service import AnswerService
from app.answers.store import AnswerStore
from app.budgets.service import BudgetService
from app.core.clock import Clock
from app.core.health import Dependency
from app.core.redis import Redis
from app.gateway.cache_service import AnswerCache
from app.gateway.custody_service import Custody
from app.gateway.dispatch_service import Dispatcher
from app.gateway.follow_up_service import FollowUps
from app.gateway.passthrough_service import PassthroughService
from app.gateway.reservation_service import ReservationDesk
from app.gateway.service import GatewayService
from app.gateway.settlement import Settlement
from app.gateway.socket_account_service import SocketParts
from app.gateway.socket_service import GatewaySockets
from app.gateway.socket_session_service import SessionRules
from app.gateway.stored_service import StoredService
from app.gateway.token_count_service import TokenCounts
from app.idempotency.service import IdempotencyService
from app.ledger.service import LedgerService
from app.limits.service import LimitService
from app.observability.metrics import Metrics
from app.prices.service import PriceService
from app.settings import Settings
from app.tenants import Tenants
from app.upstreaming import Upstreaming


class Below(NamedTuple):
    """The services that a call needs, each of the feature of its name."""

    tenants: Tenants
    prices: PriceService
    ledger: LedgerService
    idempotency: IdempotencyService
    budgets: BudgetService
    limits: LimitService
    upstreams: Upstreaming
    redis: Redis
    metrics: Metrics


@dataclass(frozen=True)
class Calling:
    """What answers calls."""

    gateway: GatewayService
    passthrough: PassthroughService
    sockets: GatewaySockets
    stored: StoredService
    close: Callable[[], Awaitable[None]]
    """Ends what still waits for upstreams."""


def build_calling(settings: Settings, below: Below, clock: Clock) -> Calling:
    """Return the services of the gateway."""
    prices, ledger, limits, metrics = below.prices, below.ledger, below.limits, below.metrics
    tenants, upstreams = below.tenants, below.upstreams
    reservations = ReservationDesk(prices, below.budgets, below.idempotency, TokenCounts(), settings.budgets)
    custody = Custody(tenants.ownership, upstreams.directory)
    settlement = Settlement(prices, below.budgets, limits, custody, clock)
    follow_ups = FollowUps(upstreams.service, settlement, settings.gateway)
    patience_seconds = settings.gateway.keep_alive_seconds or math.inf
    dispatcher = Dispatcher(upstreams.service, reservations, limits, settlement, clock, patience_seconds)
    answers = _answers(settings, below.redis)
    cache = AnswerCache(answers, tenants.cache_policies, ledger, limits, settings, clock)
    parts = SocketParts(upstreams.service, custody, reservations, settlement, limits, ledger, metrics, clock)
    return Calling(
        gateway=GatewayService(upstreams.service, reservations, limits, cache, dispatcher, clock),
        passthrough=PassthroughService(parts, prices, upstreams.directory, tenants.allows),
        sockets=GatewaySockets(upstreams.sockets, parts, _session_rules(settings)),
        stored=StoredService(upstreams.service, custody, limits, patience_seconds),
        close=follow_ups.close,
    )


def _answers(settings: Settings, redis: Redis) -> AnswerService:
    """Return what keeps answers, under the secret that credentials are encrypted with too."""
    secret = settings.secrets.key or settings.keys.pepper
    assert secret, "set by cli.py"  # noqa: S101 - narrows the type
    store = AnswerStore(redis, Dependency("cache"), settings.cache)
    return AnswerService(store, AnswerBox(secret.get_secret_value().encode()), settings.cache.answer_size_bytes_max)


def _session_rules(settings: Settings) -> SessionRules:
    """Return how long WebSockets may be open and silent."""
    silent_seconds = settings.upstream.between_chunks_timeout_seconds
    return SessionRules(settings.gateway.socket_seconds_max, settings.gateway.socket_idle_seconds, silent_seconds)
