"""Liveness and readiness on the wire."""

from typing import Literal

from pydantic import Field

from app.core.shape import Shape


class Liveness(Shape):
    """The process runs and answers."""

    status: Literal["ok"] = "ok"


class CheckResult(Shape):
    """One thing that this process depends on."""

    ok: bool
    reason: str | None = Field(description="Why it is not ok.")


class Readiness(Shape):
    """Whether calls can be served: `degraded` serves them with looser limits, `unavailable` does not."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, CheckResult]
