"""The settings of the gateway: a group as those in `setting_groups.py`."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from app.setting_groups import Group
from app.setting_values import Seconds

_COLLECTION: Final = re.compile(r"[a-z0-9_-]+(?:/[a-z0-9_-]+)*")
_NEVER: Final = frozenset({"organization", "gateway", "projects", "requests", "models"})
"""What Weir answers itself."""


def _require_collection(path: str) -> str:
    if not _COLLECTION.fullmatch(path) or path.partition("/")[0] in _NEVER:
        raise ValueError("must be a path below /v1 without slashes around it, such as `threads`, and not one of Weir's")
    return path


PassthroughPath = Annotated[str, AfterValidator(_require_collection)]


class Gateway(Group):
    """What callers may reach through Weir, and what of it is theirs."""

    isolation: Literal["project", "off"] = Field(
        "project",
        description="`project`: what a project stores upstream (responses, files, vector stores …) is there for that "
        "project only. `off`: whoever knows an id may use it; for a single team.",
    )
    background_hours_max: int = Field(
        24, ge=1, le=720, description="Hours after which a response in the background is charged at its ceiling."
    )
    stored_days_max: int = Field(
        400,
        ge=31,
        le=36_500,
        description="Days after which it is forgotten whose a stored response or chat completion is: OpenAI keeps "
        "them for 30.",
    )
    keep_alive_seconds: float = Field(
        15,
        ge=0,
        le=3_600,
        description="Silence of an upstream after which the caller of a stream gets a comment, so that no proxy cuts "
        "it; 0: none.",
    )
    socket_idle_seconds: Seconds = Field(900, description="Silence, both ways, after which a WebSocket is closed.")
    socket_seconds_max: Seconds = Field(3_600, description="Longest life of a WebSocket; then it must be opened anew.")
    passthrough: tuple[str, ...] = Field(
        (
            "audio",
            "batches",
            "containers",
            "conversations",
            "evals",
            "files",
            "fine_tuning",
            "skills",
            "uploads",
            "vector_stores",
            "videos",
        ),
        description="What of OpenAI's API passes through as it is, metered by request; `docs/passthrough.md` says what "
        'each is. JSON: `["files", "batches"]`, `[]` for nothing.',
    )
    passthrough_paths: tuple[PassthroughPath, ...] = Field(
        (),
        description="More paths that pass through: of collections whose objects are named by the part that follows, "
        'such as `["assistants", "threads", "threads/runs"]`.',
    )
