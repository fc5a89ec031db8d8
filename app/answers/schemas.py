"""What can be said about the caching of a project's answers, on the wire."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.answers.policy import CachePolicy
from app.cache_settings import TTL_SECONDS_MAX
from app.core.shape import Shape
from app.core.wire import example_of

_POLICY: Final[dict[str, Any]] = {"enabled": True, "ttl_seconds": 600}
_TTL: Final = "How long an answer is kept; null: for as long as `WEIR_CACHE__TTL_SECONDS` says."


class ProjectCacheBody(Shape):
    """Whether answers of a project are cached."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _POLICY})

    enabled: bool = Field(strict=True, description="false: not even for calls that ask for it.")
    ttl_seconds: int | None = Field(None, strict=True, ge=1, le=TTL_SECONDS_MAX, description=_TTL)

    def policy(self) -> CachePolicy:
        """Return it for the service."""
        return CachePolicy(self.enabled, self.ttl_seconds)


class ProjectCache(Shape):
    """What was said about the caching of a project's answers."""

    model_config = example_of({"object": "gateway.project.cache", **_POLICY})

    object: Literal["gateway.project.cache"] = "gateway.project.cache"
    enabled: bool | None = Field(description="null: nothing was said, and each call may ask for it.")
    ttl_seconds: int | None = Field(description=_TTL)

    @classmethod
    def of(cls, policy: CachePolicy) -> "ProjectCache":
        """Return *policy* as it is shown."""
        return cls(enabled=policy.enabled, ttl_seconds=policy.ttl_seconds)


class ProjectCacheDeleted(Shape):
    """Nothing is said any more."""

    model_config = example_of({"object": "gateway.project.cache.deleted", "deleted": True})

    object: Literal["gateway.project.cache.deleted"] = "gateway.project.cache.deleted"
    deleted: bool = True
