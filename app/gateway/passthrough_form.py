"""Bodies that are not JSON, on their way through: they may bring files, and name nothing that is stored. Pure."""

import re
from typing import Final

from app.errors import InvalidRequest, UnsupportedMediaType
from app.gateway.multipart import is_form
from app.gateway.passthrough import PassedPath

_UPLOADED: Final = frozenset({"files", "uploads"})
"""Groups whose bodies that are not JSON are files and name nothing."""
_HEADER_BYTES_MAX: Final = 16_384
"""No server takes a longer line in the head of a part."""
_LOOK_BYTES_MIN: Final = 8_192
"""What comes in smaller pieces waits for more: with each look what came before is looked at again."""
_NAMES_STORED: Final = re.compile(
    rb"(?:^|[\r\n])content-disposition(?:[^\r\n]|\r?\n[ \t])*?(?<![a-z])name\s{0,8}(?:\*|="
    rb"\s{0,8}\"?(?!metadata\[)[^\";\r\n]{0,64}?(?:\\|%|file_id|container_id|skill_id|vector_store_id"
    rb"|training_file|validation_file|(?:video|character)[^\";\r\n]{0,32}\[id\]))",
    re.IGNORECASE,
)
"""A field that has the id of an object for its value, or whose name may be read in more than one way.

Each line is looked at once and each name for 64 bytes, so that no body takes long.
"""


def names_nothing(path: PassedPath) -> bool:
    """Tell whether a body for *path* that is not JSON is a file, whatever is in it."""
    return path.group in _UPLOADED


def refuse_unreadable(path: PassedPath, content_type: str | None, content_encoding: str | None) -> None:
    """Raise UnsupportedMediaType for a body that is not JSON in which Weir cannot see what it names."""
    essence = (content_type or "").partition(";")[0].strip().lower()
    if not is_form(content_type) and not (path.group == "realtime" and essence == "application/sdp"):
        raise UnsupportedMediaType("The content type must be application/json or multipart/form-data.")
    if (content_encoding or "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed request bodies are not supported: send the form as it is.")


class FormWatch:
    """Looks at a form as it passes, piece by piece."""

    def __init__(self) -> None:
        self._before = b""
        self._held = bytearray()

    def look(self, piece: bytes) -> bytes:
        """Return what may pass now that *piece* is here, perhaps nothing; raises as `rest` does."""
        self._held += piece
        return self.rest() if len(self._held) >= _LOOK_BYTES_MIN else b""

    def rest(self) -> bytes:
        """Return what did not pass yet; raises InvalidRequest when a field names a stored object."""
        piece = bytes(self._held)
        self._held.clear()
        seen = self._before + piece
        if _NAMES_STORED.search(seen):
            raise InvalidRequest("A form cannot name what is stored: send the ids in a JSON body.")
        self._before = seen[-_HEADER_BYTES_MAX:]
        return piece
