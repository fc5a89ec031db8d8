"""What passes through as it is: which paths, what in them is the id of a stored object, what answers name. Pure.

A path is taken apart as it came: what is percent-encoded stays so, and nothing is normalised.
https://platform.openai.com/docs/api-reference
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from app.errors import InvalidRequest
from app.gateway.references import references_of
from app.gateway.stream import StoredObject
from app.gateway.usage import objects

_BUILT_IN: Final = (
    "audio/voice_consents",
    "audio/voices",
    "batches",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning/alpha/graders/run",
    "fine_tuning/alpha/graders/validate",
    "fine_tuning/checkpoints",
    "fine_tuning/jobs",
    "realtime/calls",
    "realtime/client_secrets",
    "realtime/sessions",
    "realtime/transcription_sessions",
    "realtime/translations/client_secrets",
    "skills",
    "uploads",
    "vector_stores",
    "videos",
    "videos/characters",
    "videos/edits",
    "videos/extensions",
)
_BILLED: Final[Mapping[str, frozenset[str]]] = {
    "batches": frozenset({"batches"}),
    "containers": frozenset({"containers"}),
    "conversations": frozenset(),
    "evals": frozenset({"runs"}),
    "files": frozenset(),
    "fine_tuning": frozenset({"jobs", "resume", "run"}),
    "skills": frozenset(),
    "uploads": frozenset(),
    "vector_stores": frozenset({"search"}),
}
"""By group, how the paths end at which providers charge for what is posted; in any other group that may be all."""
_FREE_METHODS: Final = frozenset({"GET", "HEAD", "DELETE"})
_KINDS: Final = {"batches": "batch"}
_EVAL_SOURCES: Final = frozenset({"file_content", "file_id"})
"""Where a run of an eval may have its data from without reading what other projects have stored."""
_NAMES_A_FILE: Final = ("training_file", "validation_file", "input_file_id")
_NAMED_IN_ANSWERS: Final = (*_NAMES_A_FILE[2:], "output_file_id", "error_file_id", "fine_tuned_model")


@dataclass(frozen=True, slots=True)
class PassedPath:
    """A path that passes through."""

    raw: str
    """As it came, with a slash in front and without `/v1`."""
    collection: str
    """Such as `files` or `fine_tuning/jobs`."""
    object_id: str | None
    """The part behind that, decoded."""
    rest: tuple[str, ...] = ()
    """All parts behind that, decoded."""

    @property
    def group(self) -> str:
        """What is switched on and off, and has a price: the first part of the path."""
        return self.collection.partition("/")[0]

    @property
    def kind(self) -> str:
        """What an object of the collection is called, such as `file`."""
        name = self.collection.rpartition("/")[2]
        return _KINDS.get(name, name.removesuffix("s"))

    def is_free(self, method: str) -> bool:
        """Tell whether a call of *method* is one that no provider charges for."""
        if method in _FREE_METHODS:
            return True
        billed = _BILLED.get(self.group)
        return billed is not None and (self.rest or self.collection.split("/"))[-1] not in billed

    def is_list(self, method: str) -> bool:
        """Tell whether *method* lists what the account has stored, whoever it belongs to."""
        return method in ("GET", "HEAD") and self.object_id is None

    def is_content(self, method: str) -> bool:
        """Tell whether *method* downloads a file: whatever that is, it is no answer of the API."""
        return method in ("GET", "HEAD") and self.rest[-1:] == ("content",)

    def is_deletion(self, method: str) -> bool:
        """Tell whether *method* deletes the object itself, and not a part of it."""
        return method == "DELETE" and self.object_id is not None and not self.rest

    def made_at(self, method: str, location: str) -> str | None:
        """Return the id of the object that *method* has made, by where its answer says that is; None for elsewhere.

        RFC 9110, section 15.3.2. It may be a whole URL: only what is behind the collection's name counts.
        """
        try:
            _, is_below, last = urlsplit(location).path.rpartition(f"/{self.collection}/")
        except ValueError:
            return None
        object_id = unquote(last, errors="surrogateescape")
        if method != "POST" or self.object_id is not None or not is_below or "/" in last or _is_ambiguous(object_id):
            return None
        return object_id

    def stored(self, method: str, document: Mapping[str, Any]) -> Iterator[StoredObject]:
        """Yield what an answer says that the upstream stores: an object that it has made, and others that it names."""
        object_id = document.get("id")
        if method == "POST" and (self.object_id is None or self.rest == ("remix",)) and isinstance(object_id, str):
            yield StoredObject(object_id, self.kind)
        for name in _NAMED_IN_ANSWERS:
            if isinstance(found := document.get(name), str):
                yield StoredObject(found, "model" if name == "fine_tuned_model" else "file")
        results = document.get("result_files")
        file = document.get("file")
        named = [*(results if isinstance(results, list) else ()), file.get("id") if isinstance(file, dict) else None]
        yield from (StoredObject(each, "file") for each in named if isinstance(each, str))
        if self.group == "conversations" and self.rest[:1] == ("items",):
            items = (item.get("id") for item in (*objects(document.get("data")), document))
            yield from (StoredObject(item_id, "item") for item_id in items if isinstance(item_id, str))


class PassedPaths:
    """Which paths pass through: the built-in ones of the groups that are switched on, and those that were added."""

    def __init__(self, groups: Iterable[str], added: Iterable[str]) -> None:
        switched_on = frozenset(groups)
        built_in = (path for path in _BUILT_IN if path.partition("/")[0] in switched_on)
        self._collections = frozenset((*built_in, *added))
        self._parts_max = max((path.count("/") + 1 for path in self._collections), default=0)

    def covers(self, path: str) -> bool:
        """Tell, at a glance, whether a decoded *path*, such as `/v1/files/abc`, may be one of them."""
        parts = path.split("/")[: self._parts_max + 2]
        if parts[:2] != ["", "v1"]:
            return False
        return any("/".join(parts[2:end]) in self._collections for end in range(3, len(parts) + 1))

    def find(self, raw: str) -> PassedPath | None:
        """Return the path that *raw* is, which came without `/v1`; None for one that does not pass through.

        Nor does one that somebody else may take for another path: with a part that is empty, or climbs up.
        """
        parts = raw.removeprefix("/").split("/")
        decoded = [unquote(part, errors="surrogateescape") for part in parts]
        if any(map(_is_ambiguous, decoded)):
            return None
        for length in range(len(parts), 0, -1):
            collection = "/".join(parts[:length])
            if collection in self._collections:
                object_id = decoded[length] if len(parts) > length else None
                return PassedPath(raw, collection, object_id, tuple(decoded[length + 1 :]))
        return None


class Named(NamedTuple):
    """What the JSON of a request names."""

    references: tuple[str, ...]
    """Ids of stored objects, whose owner must be the caller's project."""
    models: tuple[str, ...]


def named_in(document: Mapping[str, Any]) -> Named:
    """Return what a request names, however deep."""
    found = [*references_of({"input": [document]}), *references_of({"input": document.get("items")})]
    found += [each for name in _NAMES_A_FILE if isinstance(each := document.get(name), str)]
    models = []
    left: list[object] = [document]
    while left:  # not by recursion, as a body may be nested deeper than Python recurses
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            if isinstance(model := value.get("model"), str):
                models.append(model)
            if isinstance(source_id := value.get("id"), str) and value.get("type") == "file_id":
                found.append(source_id)
            left.extend(inner for name, inner in value.items() if name != "metadata")
    if isinstance(video := document.get("video"), dict) and isinstance(video_id := video.get("id"), str):
        found.append(video_id)
    return Named(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(models)))


def refuse_search(path: PassedPath, document: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a run of an eval over what the whole account has stored, whoever it belongs to."""
    data = document.get("data_source")
    source = data.get("source") if path.group == "evals" and isinstance(data, dict) else None
    if isinstance(source, dict) and source.get("type") not in _EVAL_SOURCES:
        raise InvalidRequest(
            "Invalid 'data_source.source.type': all projects' stored responses and completions would be read. "
            "Use 'file_content' or 'file_id'.",
            param="data_source.source.type",
        )


def _is_ambiguous(part: str) -> bool:
    if not part or not part.isprintable() or "\\" in part:
        return True
    return any(each in (".", "..") for each in part.split("/"))
