"""Upstreams, plans and what is known of them, as tests of balance and health make them."""

from collections.abc import Callable
from typing import Any

from app.upstreams.health import Health
from app.upstreams.routing import Plan, Target, Upstream
from app.upstreams.target_health import HealthRules, TargetHealth

MODEL = "gpt-4o-mini"


class Log:
    """What health has said."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str]] = []
        """Upstream, model and state, at each change of a breaker."""
        self.outcomes: list[tuple[str, str]] = []

    def changed(self, target: TargetHealth) -> None:
        self.changes.append((*target.key, target.breaker.state))

    def ended(self, upstream: str, outcome: str) -> None:
        self.outcomes.append((upstream, outcome))


def make_upstream(name: str = "one", **changes: Any) -> Upstream:
    values: dict[str, Any] = {"base_url": f"https://{name}.example/v1", "api_key": "sk-1", "models": ("*",), **changes}
    return Upstream(name, **values)


def make_target(name: str = "one", model: str = MODEL, **changes: Any) -> Target:
    return Target(make_upstream(name, **changes), model)


def make_plan(*targets: Target) -> Plan:
    return Plan(targets)


def make_health(log: Log | None = None, random: Callable[[], float] = lambda: 1.0, **rules: Any) -> Health:
    return Health(HealthRules(**rules), random, log or Log())
