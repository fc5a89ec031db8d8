"""What may be asked of the usage API, and its answers; every count is a sum over calls.

https://platform.openai.com/docs/api-reference/usage
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator

from app.core.shape import Shape
from app.ledger.bill import IMAGE_SOURCES, Group
from app.ledger.bill_schemas import BucketsQuery, Names, Page, example
from app.prices.usage import Usage

_GROUP_BY: Final = "What sums are kept apart by; a field that is not named here is null in the results."


class _CallsQuery(BucketsQuery):
    """What all of them have."""

    limits: ClassVar = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1_440)}
    columns: ClassVar = {**BucketsQuery.columns, "user_ids": "user_id", "models": "model"}

    user_ids: Names = Field([], description="Only calls of these users.")
    models: Names = Field([], description="Only calls that these models answered.")


class UsageQuery(_CallsQuery):
    """A question about embeddings, moderations, speech or transcriptions."""

    group_by: list[Literal["project_id", "user_id", "api_key_id", "model"]] = Field([], description=_GROUP_BY)


class CompletionsQuery(_CallsQuery):
    """A question about completions and responses."""

    batch: bool | None = Field(None, description="Only calls in batches, or only others; both by default.")
    group_by: list[Literal["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"]] = (
        Field([], description=_GROUP_BY)
    )


class ImagesQuery(_CallsQuery):
    """A question about images."""

    sources: list[Literal["image.generation", "image.edit", "image.variation"]] = Field(
        [], description="Only images that were made so."
    )
    sizes: Names = Field([], description="Refused, as the ledger does not know the sizes of images.")
    group_by: list[Literal["project_id", "user_id", "api_key_id", "model", "size", "source"]] = Field(
        [], description=f"{_GROUP_BY} `size` always is."
    )

    @property
    def operations(self) -> Sequence[str]:
        """The operations that are asked about."""
        return [name for name, source in IMAGE_SOURCES.items() if not self.sources or source in self.sources]

    @field_validator("sizes")
    @classmethod
    def _has_no_sizes(cls, _: list[str]) -> list[str]:
        raise ValueError("sizes of images are not known")


class UsageResult(Shape, ABC):
    """The sum of one group."""

    num_model_requests: int
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None

    @classmethod
    def of(cls, group: Group) -> Self:
        """Return *group* as it is sent."""
        counts = cls.counts(group.total.usage)
        return cls.model_validate({"num_model_requests": group.total.requests, **counts, **group.key})

    @classmethod
    @abstractmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the counts that this kind of result has."""


class CompletionsResult(UsageResult):
    """Tokens by kind; every kind is a part of the total, and none is in two."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int = Field(description="All of them: cached, written to the cache, and others.")
    input_cached_tokens: int
    input_cache_write_tokens: int
    input_cache_write_12h_tokens: int
    input_uncached_tokens: int = Field(description="Neither cached nor written to the cache.")
    input_text_tokens: int = Field(description="The text among the uncached ones; so for audio and images.")
    input_audio_tokens: int
    input_image_tokens: int
    input_cached_text_tokens: int
    input_cached_audio_tokens: int
    input_cached_image_tokens: int
    output_tokens: int
    output_text_tokens: int
    output_audio_tokens: int
    output_image_tokens: int
    batch: bool | None = None
    service_tier: str | None = None
    api_source: Literal["unlabeled"] | None = None

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return tokens by kind; where an upstream contradicted itself, a rest is 0 and not negative."""
        uncached = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
        audio = usage.input_audio_tokens - usage.cached_input_audio_tokens
        image = usage.input_image_tokens - usage.cached_input_image_tokens
        cached_media = usage.cached_input_audio_tokens + usage.cached_input_image_tokens
        counts = {
            "input_tokens": usage.input_tokens,
            "input_cached_tokens": usage.cached_input_tokens,
            "input_cache_write_tokens": usage.cache_write_tokens,
            "input_cache_write_12h_tokens": usage.cache_write_12h_tokens,
            "input_uncached_tokens": uncached,
            "input_text_tokens": uncached - audio - image,
            "input_audio_tokens": audio,
            "input_image_tokens": image,
            "input_cached_text_tokens": usage.cached_input_tokens - cached_media,
            "input_cached_audio_tokens": usage.cached_input_audio_tokens,
            "input_cached_image_tokens": usage.cached_input_image_tokens,
            "output_tokens": usage.output_tokens,
            "output_text_tokens": usage.output_tokens - usage.output_audio_tokens - usage.output_image_tokens,
            "output_audio_tokens": usage.output_audio_tokens,
            "output_image_tokens": usage.output_image_tokens,
        }
        return {name: max(0, count) for name, count in counts.items()}


class EmbeddingsResult(UsageResult):
    """Tokens that were embedded."""

    object: Literal["organization.usage.embeddings.result"] = "organization.usage.embeddings.result"
    input_tokens: int

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the tokens."""
        return {"input_tokens": usage.input_tokens}


class ModerationsResult(UsageResult):
    """Tokens that were moderated."""

    object: Literal["organization.usage.moderations.result"] = "organization.usage.moderations.result"
    input_tokens: int

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the tokens."""
        return {"input_tokens": usage.input_tokens}


class ImagesResult(UsageResult):
    """Images that were made."""

    object: Literal["organization.usage.images.result"] = "organization.usage.images.result"
    images: int
    size: str | None = None
    source: str | None = None

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the images."""
        return {"images": usage.images}


class SpeechesResult(UsageResult):
    """Characters that were spoken."""

    object: Literal["organization.usage.audio_speeches.result"] = "organization.usage.audio_speeches.result"
    characters: int

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the characters."""
        return {"characters": usage.characters}


class TranscriptionsResult(UsageResult):
    """Seconds that were listened to; models that are billed by the token have none."""

    object: Literal["organization.usage.audio_transcriptions.result"] = "organization.usage.audio_transcriptions.result"
    seconds: int

    @classmethod
    def counts(cls, usage: Usage) -> dict[str, int]:
        """Return the seconds."""
        return {"seconds": usage.audio_seconds}


def _shown(kind: type[UsageResult]) -> dict[str, Any]:
    """Return an example of *kind*."""
    usage = Usage(input_tokens=1_200, cached_input_tokens=1_024, output_tokens=300, images=2, characters=45)
    counts = {"num_model_requests": 2, **kind.counts(usage._replace(audio_seconds=10)), "model": "gpt-4o-mini"}
    return kind.model_validate(counts).model_dump()


class CompletionsPage(Page[CompletionsResult]):
    """Completions."""

    model_config = example(_shown(CompletionsResult))


class EmbeddingsPage(Page[EmbeddingsResult]):
    """Embeddings."""

    model_config = example(_shown(EmbeddingsResult))


class ModerationsPage(Page[ModerationsResult]):
    """Moderations."""

    model_config = example(_shown(ModerationsResult))


class ImagesPage(Page[ImagesResult]):
    """Images."""

    model_config = example(_shown(ImagesResult))


class SpeechesPage(Page[SpeechesResult]):
    """Speech."""

    model_config = example(_shown(SpeechesResult))


class TranscriptionsPage(Page[TranscriptionsResult]):
    """Transcriptions and translations of speech."""

    model_config = example(_shown(TranscriptionsResult))
