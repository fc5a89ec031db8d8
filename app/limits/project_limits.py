"""OpenAI's rate limits of a project and a model, as a view of its limits. Pure.

https://platform.openai.com/docs/api-reference/project-rate-limits
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from app.core.version_tags import record_tag
from app.limits.amounts import Counts
from app.limits.limit import MAXIMUM_MAX, Limit, Per

ALL_MODELS: Final = "*"
NO_LIMIT: Final = MAXIMUM_MAX
"""Shown where nothing is limited, as the shape needs a number; setting it takes the limit away."""
_PREFIX: Final = "rl-"

Kind = tuple[Counts, Per]
FIELDS: Final[Mapping[str, Kind]] = {
    "max_requests_per_1_minute": ("requests", "minute"),
    "max_tokens_per_1_minute": ("tokens", "minute"),
    "max_images_per_1_minute": ("images", "minute"),
    "max_audio_megabytes_per_1_minute": ("audio_megabytes", "minute"),
    "max_requests_per_1_day": ("requests", "day"),
    "batch_1_day_max_input_tokens": ("batch_input_tokens", "day"),
}


class ProjectRateLimit(NamedTuple):
    """How fast one project may call one model, or a pattern of models."""

    model: str
    maxima: Mapping[str, int]
    """By the names of FIELDS; what is not limited is not in it."""

    @property
    def id(self) -> str:
        """What it is named by in the API."""
        return rate_limit_id(self.model)

    @property
    def tag(self) -> str:
        """What it is known by to those who change it (If-Match)."""
        return record_tag(self.facts)

    @property
    def facts(self) -> tuple[object, ...]:
        """All that it says."""
        return self.model, *(self.maxima.get(name) for name in FIELDS)


def rate_limit_id(model: str) -> str:
    """Return the id of a project's rate limit for *model*."""
    return f"{_PREFIX}{model}"


def find_model(text: str) -> str | None:
    """Return the model that the id of a rate limit names, None when it is none."""
    return text.removeprefix(_PREFIX) or None if text.startswith(_PREFIX) else None


def pattern_of(model: str) -> str | None:
    """Return *model* as limits have it: None for all."""
    return None if model == ALL_MODELS else model


def rate_limit(model: str, limits: Iterable[Limit]) -> ProjectRateLimit:
    """Return what *limits*, all those of a project, say of *model*: the tightest of those that enforce."""
    maxima: dict[str, int] = {}
    pattern = pattern_of(model)
    of_model = [limit for limit in limits if limit.model == pattern and limit.mode == "enforcing"]
    for name, kind in FIELDS.items():
        values = [limit.maximum for limit in of_model if (limit.counts, limit.per) == kind]
        if values:
            maxima[name] = min(values)
    return ProjectRateLimit(model, maxima)


def models_of(limits: Iterable[Limit]) -> set[str]:
    """Return the models, and patterns of models, that *limits* are for."""
    return {limit.model or ALL_MODELS for limit in limits}
