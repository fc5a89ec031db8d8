"""Rate limits of projects on the wire, in OpenAI's shape.

https://platform.openai.com/docs/api-reference/project-rate-limits
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from app.core.pagination import Page
from app.core.shape import Shape
from app.core.wire import Listed, list_example, page_of
from app.limits.project_limits import NO_LIMIT, ProjectRateLimit

_EXAMPLE: Final[JsonDict] = {
    "object": "project.rate_limit",
    "id": "rl-gpt-4o-mini",
    "model": "gpt-4o-mini",
    "max_requests_per_1_minute": 600,
    "max_tokens_per_1_minute": 150000,
}
_UNLIMITED: Final = f"{NO_LIMIT} where it is not limited."
Id = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00]*$")]
Maximum = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]


class RateLimitsQuery(Shape):
    """Which page of a project's rate limits to show."""

    model_config = ConfigDict(extra="forbid")

    after: Id | None = Field(None, description="The `last_id` of the page before.")
    before: Id | None = Field(None, description="The `first_id` of the page behind.")
    limit: int = Field(100, ge=1, le=100)


class RateLimitUpdate(Shape):
    """What to set; what is not given stays. A number of 10^12 or more takes a limit away."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"max_requests_per_1_minute": 600}})

    max_requests_per_1_minute: Maximum | None = None
    max_tokens_per_1_minute: Maximum | None = None
    max_images_per_1_minute: Maximum | None = None
    max_audio_megabytes_per_1_minute: Maximum | None = None
    max_requests_per_1_day: Maximum | None = None
    batch_1_day_max_input_tokens: Maximum | None = None


class RateLimit(Shape):
    """How fast one project may call one model; `*` is for all of them together."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    object: Literal["project.rate_limit"] = "project.rate_limit"
    id: str
    model: str
    max_requests_per_1_minute: int = Field(NO_LIMIT, description=_UNLIMITED)
    max_tokens_per_1_minute: int = Field(NO_LIMIT, description=_UNLIMITED)
    max_images_per_1_minute: int | None = None
    max_audio_megabytes_per_1_minute: int | None = None
    max_requests_per_1_day: int | None = None
    batch_1_day_max_input_tokens: int | None = None

    @classmethod
    def of(cls, limit: ProjectRateLimit) -> "RateLimit":
        """Return *limit* as it is shown."""
        return cls(id=limit.id, model=limit.model, **limit.maxima)


class RateLimitList(Listed[RateLimit]):
    """A page of a project's rate limits."""

    model_config = list_example(_EXAMPLE)

    @classmethod
    def of(cls, page: Page[ProjectRateLimit]) -> "RateLimitList":
        """Return *page* as it is shown."""
        return cls(**page_of([RateLimit.of(limit) for limit in page.items], has_more=page.has_more))
