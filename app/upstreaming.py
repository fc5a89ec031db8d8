"""Builds the services of the feature `upstreams`, and the upstreams that the environment describes."""

import importlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.core.crypto import SecretBox, derive_key
from app.core.db import Database
from app.core.health import Dependency
from app.core.redis import Redis
from app.dispatch_settings import Dispatch
from app.keys.caller import Caller
from app.observability.metrics import Metrics
from app.observability.tracing import Tracer
from app.settings import Settings
from app.upstreams.address import AddressRules, server_of
from app.upstreams.admin_service import UpstreamAdminService
from app.upstreams.breaker import BreakerRules
from app.upstreams.breaker_admin_service import BREAKERS_CHANGED, BreakerAdminService
from app.upstreams.breaker_service import BreakerService
from app.upstreams.breaker_store import BreakerStore
from app.upstreams.client import UpstreamClient
from app.upstreams.directory import Directory
from app.upstreams.directory_service import UPSTREAMS_CHANGED, DirectoryService
from app.upstreams.guarded_client import GuardedResolver
from app.upstreams.health import Health
from app.upstreams.probe_service import ProbeService
from app.upstreams.routing import FIRST_UPSTREAM, Upstream
from app.upstreams.service import CallRules, UpstreamService
from app.upstreams.socket_client import SocketClient
from app.upstreams.socket_service import SocketOpener
from app.upstreams.target_health import HealthRules
from app.upstreams.trial_service import TrialService

_PURPOSE: Final = b"weir credentials of upstreams"
_SIMULATOR: Final = "app.simulator.server"
"""Imported only where it is wanted, as it takes 4 MiB."""


@dataclass(frozen=True)
class Upstreaming:
    """The services of the feature `upstreams`, what they listen to, and their work in the background."""

    service: UpstreamService
    admin: UpstreamAdminService
    directory: Directory
    breakers: BreakerService
    breaker_admin: BreakerAdminService
    sockets: SocketOpener
    background: Sequence[Callable[[], Coroutine[None, None, None]]]
    listeners: Sequence[tuple[str, Callable[[str], None]]]


@asynccontextmanager
async def upstreaming(
    settings: Settings,
    db: Database,
    redis: Redis,
    metrics: Metrics,
    tracer: Tracer,
    allows: Callable[[Caller, str], bool],
) -> AsyncIterator[Upstreaming]:
    """Yield the services with the upstreams loaded; connections are closed when the block ends."""
    async with AsyncExitStack() as stack:
        environment = await _from_environment(settings, stack)
        rules = address_rules(settings, environment)
        resolver = GuardedResolver(rules)
        client = UpstreamClient(settings.upstream, resolver)
        stack.push_async_callback(client.close)
        directory, box = Directory(environment), secret_box(settings)
        directory_service = DirectoryService(db, directory, box, rules)
        await directory_service.load()
        shared = Dependency("breakers", lambda is_up: metrics.upstreams.breakers_shared(is_up=is_up))
        store = BreakerStore(redis)
        breakers = BreakerService(store, directory, _health_rules(settings.dispatch), shared, metrics.upstreams)
        breaker_admin = BreakerAdminService(db, breakers, directory)
        await breaker_admin.load()
        probes = ProbeService(client, breakers.health, settings.dispatch.probe_timeout_seconds)
        socket_client = SocketClient(settings.upstream, settings.server, resolver)
        stack.push_async_callback(socket_client.close)
        service = UpstreamService(client, directory, tracer, allows, _call_rules(settings, breakers.health))
        yield Upstreaming(
            service=service,
            sockets=SocketOpener(socket_client, service, tracer),
            admin=UpstreamAdminService(db, directory_service, TrialService(client), resolver, box),
            directory=directory,
            breakers=breakers,
            breaker_admin=breaker_admin,
            background=(
                directory_service.keep_fresh,
                breaker_admin.keep_fresh,
                breakers.keep_shared,
                probes.keep_probing,
            ),
            listeners=((UPSTREAMS_CHANGED, directory_service.expire), (BREAKERS_CHANGED, breaker_admin.expire)),
        )


def _health_rules(dispatch: Dispatch) -> HealthRules:
    return HealthRules(
        breaker=BreakerRules(
            calls_min=dispatch.breaker_calls_min,
            error_percent=dispatch.breaker_error_percent,
            slow_percent=dispatch.breaker_slow_percent,
            silent_calls_max=dispatch.breaker_silent_calls_max,
            open_seconds=dispatch.breaker_open_seconds,
            open_seconds_max=dispatch.breaker_open_seconds_max,
            trial_calls=dispatch.breaker_trial_calls,
        ),
        slow_call_seconds=dispatch.slow_call_seconds,
        stall_seconds=dispatch.stall_seconds,
        retry_budget_percent=dispatch.retry_budget_percent,
        retries_per_second=dispatch.retries_per_second,
    )


def _call_rules(settings: Settings, health: Health) -> CallRules:
    return CallRules(
        health,
        settings.dispatch.attempts_max,
        settings.upstream.total_timeout_seconds,
        settings.upstreams.fallback_models,
    )


def address_rules(settings: Settings, environment: Iterable[Upstream]) -> AddressRules:
    """Return where upstreams may be: those of the *environment* anywhere, others where the settings allow."""
    upstreams = settings.upstreams
    trusted = frozenset(server_of(upstream.base_url) for upstream in environment)
    return AddressRules(upstreams.allow_private_addresses, upstreams.allowed_networks, trusted)


def secret_box(settings: Settings) -> SecretBox:
    """Return what credentials are encrypted with: under the configured key, or one made from the pepper of keys.

    Credentials from before a key was configured stay readable as long as the pepper is there.
    """
    given = [
        settings.secrets.key,
        *settings.secrets.previous_keys,
        settings.keys.pepper,
        *settings.keys.previous_peppers,
    ]
    return SecretBox([derive_key(each.get_secret_value().encode(), _PURPOSE) for each in given if each is not None])


async def _from_environment(settings: Settings, stack: AsyncExitStack) -> list[Upstream]:
    """Return the simulator, started here when it is wanted, and the upstream from the environment."""
    upstreams = []
    mode = settings.simulator.mode
    if mode == "on" or (mode == "auto" and settings.openai_api_key is None):
        api_key = secrets.token_hex(16)
        simulator = importlib.import_module(_SIMULATOR)
        served = simulator.serve_simulator(simulator.create_simulator(api_key=api_key))
        base_url = await stack.enter_async_context(served)
        upstreams.append(Upstream("simulator", base_url, api_key, models=("sim-*",), is_exclusive=True))
    if settings.openai_api_key is not None:
        api_key = settings.openai_api_key.get_secret_value()
        upstreams.append(Upstream(FIRST_UPSTREAM, settings.openai_base_url, api_key, models=("*",)))
    return upstreams
