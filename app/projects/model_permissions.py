"""Which models a caller may call: those that both its key and its project allow. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from app.projects.record import ModelPermissions


def is_allowed(model: str, of_key: Iterable[str], of_project: ModelPermissions | None) -> bool:
    """Tell whether *model* may be called with a key that is kept to the patterns *of_key*, where there are any."""
    if of_key and not _matches(model, of_key):
        return False
    if of_project is None:
        return True
    return _matches(model, of_project.model_ids) == (of_project.mode == "allow_list")


def _matches(model: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)
