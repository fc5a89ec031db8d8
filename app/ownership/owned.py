"""What is known of an object that an upstream stores for a project, and what an id may look like. Pure."""

import re
from typing import Final, NamedTuple

_OBJECT_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")


class Owned(NamedTuple):
    """Where an object is, and what it is."""

    upstream_name: str
    kind: str
    """Such as `response` or `file`."""


class OwnedObject(NamedTuple):
    """An object with its owner."""

    project_id: str
    object_id: str
    kind: str
    upstream_name: str


def is_object_id(text: str) -> bool:
    """Tell whether *text* can be the id of an object: 1 to 256 visible ASCII characters."""
    return _OBJECT_ID.fullmatch(text) is not None
