"""What all questions about the bill have in common, and all answers: buckets on pages, as OpenAI's usage API has them.

https://platform.openai.com/docs/api-reference/usage
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from app.core.shape import Shape
from app.ledger.bill import BillPage, BillQuery, Group
from app.ledger.spans import Width

Result = TypeVar("Result", bound=Shape)
UnixSeconds = Annotated[int, Field(ge=0, le=4_102_444_800)]
"""Until the year 2100."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
"""What may be compared with a value in the database, which has no NUL."""
Names = Annotated[list[Name], Field(max_length=100)]

_WIDTHS: Final[dict[str, Width]] = {"1m": "minute", "1h": "hour", "1d": "day"}


class BucketsQuery(Shape):
    """A question about the bill. A parameter that does not exist is refused: misspelt, it would change the sums."""

    model_config = ConfigDict(extra="forbid")
    limits: ClassVar[dict[str, tuple[int, int]]] = {}
    """For each width, the default and the largest number of buckets."""
    columns: ClassVar[dict[str, str]] = {"project_ids": "project_id", "api_key_ids": "key_id"}
    """Filters, and what they look at."""

    start_time: UnixSeconds = Field(description="Begin of the range in Unix seconds, inclusive.")
    end_time: UnixSeconds | None = Field(
        None, description="End of the range in Unix seconds, exclusive; by default that of the bucket that it is now."
    )
    bucket_width: Literal["1m", "1h", "1d"] = Field(
        "1d", description="Buckets are minutes, hours or days in UTC; the first and the last may be parts of one."
    )
    limit: int | None = Field(None, ge=1, description="Largest number of buckets on the page.")
    page: str | None = Field(None, max_length=64, description="The `next_page` of the page before.")
    project_ids: Names = Field([], description="Only calls of these projects.")
    api_key_ids: Names = Field([], description="Only calls with these keys.")
    group_by: list[Any] = Field([])

    @field_validator("end_time")
    @classmethod
    def _ends_after_it_starts(cls, end_time: int | None, given: ValidationInfo) -> int | None:
        if end_time is not None and end_time <= given.data.get("start_time", -1):
            raise ValueError("must be after start_time")
        return end_time

    @field_validator("limit")
    @classmethod
    def _is_within_the_limit(cls, limit: int | None, given: ValidationInfo) -> int | None:
        width = given.data.get("bucket_width")
        if limit is not None and width is not None and limit > cls.limits[width][1]:
            raise ValueError(f"must be at most {cls.limits[width][1]} for buckets of {width}")
        return limit

    @property
    def buckets_max(self) -> int:
        """How many buckets the page may have."""
        return self.limit or self.limits[self.bucket_width][0]

    def asked(self, operations: Sequence[str] | None = None, *, is_batch: bool | None = None) -> BillQuery:
        """Return the question about *operations*, all unless given."""
        filters = {column: getattr(self, name) for name, column in self.columns.items() if getattr(self, name)}
        return BillQuery(
            begin=_moment(self.start_time),
            end=None if self.end_time is None else _moment(self.end_time),
            width=_WIDTHS[self.bucket_width],
            operations=operations,
            filters=filters,
            is_batch=is_batch,
            group_by=tuple(dict.fromkeys(self.group_by)),
        )


class Bucket(Shape, Generic[Result]):
    """What was used in one stretch of time."""

    object: Literal["bucket"] = "bucket"
    start_time: int = Field(description="Unix seconds, inclusive.")
    end_time: int = Field(description="Unix seconds, exclusive.")
    results: list[Result] = Field(description="One for each group, none when nothing was used.")


class Page(Shape, Generic[Result]):
    """Buckets, oldest first."""

    object: Literal["page"] = "page"
    data: list[Bucket[Result]]
    has_more: bool
    next_page: str | None = Field(description="What `page` must be in the next question.")

    @classmethod
    def of(cls, page: BillPage, result: Callable[[Group], Result]) -> Self:
        """Return *page* as it is sent, each group as *result* makes it."""
        buckets = [
            {
                "start_time": int(bucket.span.begin.timestamp()),
                "end_time": int(bucket.span.end.timestamp()),
                "results": [result(group) for group in bucket.groups],
            }
            for bucket in page.buckets
        ]
        return cls.model_validate(
            {"data": buckets, "has_more": page.next_page is not None, "next_page": page.next_page}
        )


def example(result: Mapping[str, Any]) -> ConfigDict:
    """Return the configuration that shows a page with one *result* in the API description."""
    bucket: Any = {"object": "bucket", "start_time": 1795305600, "end_time": 1795392000, "results": [dict(result)]}
    return ConfigDict(
        json_schema_extra={"example": {"object": "page", "data": [bucket], "has_more": False, "next_page": None}}
    )


def _moment(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
