"""Parts of wire shapes that features share: safe names and ids, pages of lists, changes, what was deleted."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.core.pagination import Order, Paging
from app.core.shape import Shape
from app.errors import InvalidRequest

Item = TypeVar("Item")
# Control characters, line separators, and what turns the direction of the text around it.
_UNREADABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _readable(text: str) -> str:
    if _UNREADABLE.search(text):
        raise PydanticCustomError("name", "it must not have control characters or line breaks")
    if not text.strip():
        raise PydanticCustomError("name", "it must not be blank")
    return text


Name = Annotated[str, StringConstraints(max_length=256), AfterValidator(_readable)]
"""What people call something."""
Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
"""The id of something that may not exist."""


class ListQuery(Shape):
    """Which page of a list to show. A parameter that does not exist is refused: misspelt, it would find too many."""

    model_config = ConfigDict(extra="forbid")

    after: Id | None = Field(None, description="The `last_id` of the page before.")
    limit: int = Field(20, ge=1, le=100)
    order: Order = "asc"

    def paging(self) -> Paging:
        """Return which page is wanted."""
        return Paging(self.after, self.limit, self.order)


class Listed(Shape, Generic[Item]):
    """A page of a list; ask for the next one with `after` set to `last_id`."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(data: Sequence[Any], *, has_more: bool) -> dict[str, Any]:
    """Return the fields of a list of *data*, whose items have an `id`."""
    ends = {"first_id": data[0].id if data else None, "last_id": data[-1].id if data else None}
    return {"data": data, "has_more": has_more, **ends}


def example_of(example: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a shape with an example."""
    return ConfigDict(json_schema_extra={"example": example})


def list_example(example: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a list with *example* on its page."""
    page = {"first_id": example["id"], "last_id": example["id"], "has_more": False}
    return example_of({"object": "list", "data": [example], **page})


def show_nulls(description: dict[str, Any]) -> None:
    """Add null to each example for what its shape always has, and may be null: FastAPI leaves that out."""
    shapes = description["components"]["schemas"]
    for shape in shapes.values():
        if "example" in shape:
            _complete(shape["example"], shape, shapes)


def _complete(example: Any, shape: dict[str, Any], shapes: dict[str, Any]) -> None:
    choices = [each for each in shape.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        [shape] = choices
    if "$ref" in shape:
        shape = shapes[shape["$ref"].rpartition("/")[2]]
    if isinstance(example, list):
        for item in example:
            _complete(item, shape.get("items", {}), shapes)
    if not isinstance(example, dict):
        return
    for name, member in shape.get("properties", {}).items():
        if name in example:
            _complete(example[name], member, shapes)
        elif name in shape.get("required", ()) and {"type": "null"} in member.get("anyOf", ()):
            example[name] = None


def not_null(value: Any) -> Any:
    """Refuse null for something that can be left out."""
    if value is None:
        raise PydanticCustomError("null", "it must not be null; leave it out to keep it as it is")
    return value


class Update(Shape):
    """What can be changed of something; what is not given stays as it is, and most of what is given is not null."""

    model_config = ConfigDict(extra="forbid")

    thing: ClassVar[str] = "one"
    fixed: ClassVar[frozenset[str]] = frozenset()
    """What is chosen once, when the thing is made."""
    nullable: ClassVar[frozenset[str]] = frozenset()
    """What can be taken away again."""

    @model_validator(mode="before")
    @classmethod
    def _can_be_changed(cls, given: Any) -> Any:
        for name in given.keys() & cls.fixed if isinstance(given, dict) else ():
            raise InvalidRequest(f"'{name}' cannot be changed: make another {cls.thing}.", param=name)
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: Any, info: ValidationInfo) -> Any:
        return value if info.field_name in cls.nullable else not_null(value)


class Deleted(Shape):
    """It is gone."""

    model_config = example_of({"id": "key_5a1b", "object": "organization.project.api_key.deleted", "deleted": True})

    id: str
    object: str
    deleted: bool = True
