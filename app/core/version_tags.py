"""Entity tags (RFC 9110, section 8.8.3), of rows that count their versions and of rows that do not. Pure."""

import hashlib
from datetime import datetime

import orjson

from app.errors import PreconditionFailed


def version_tag(version: int, used_at: datetime | None = None) -> str:
    """Return the tag of *version*; with *used_at*, one that differs whenever either differs."""
    use = "" if used_at is None else f"-{int(used_at.timestamp())}"
    return f'"{version}{use}"'


def answer_tag(version: int, answer: str) -> str:
    """Return the tag of an *answer* that shows, beside what has *version*, what it does not count."""
    return f'"{version}-{hashlib.sha256(answer.encode()).hexdigest()[:16]}"'


def is_wanted(if_match: str | None, version: int) -> bool:
    """Tell whether the header If-Match (RFC 9110, section 13.1.1) names *version*, or there is none.

    What stands behind the version in its tag, such as when something was used last, does not matter.
    """
    if if_match is None:
        return True
    tags = {tag.strip() for tag in if_match.split(",")}
    return "*" in tags or any(tag.startswith('"') and tag.strip('"').partition("-")[0] == str(version) for tag in tags)


def require_version(if_match: str | None, version: int, what: str) -> None:
    """Raise PreconditionFailed unless the header If-Match names *version* of *what*, or there is none."""
    if not is_wanted(if_match, version):
        raise PreconditionFailed(f"The {what} was changed meanwhile; it is at {version_tag(version)} now.")


def record_tag(record: tuple[object, ...]) -> str:
    """Return the tag of a row that counts no versions: of all that it says."""
    return f'"{hashlib.sha256(orjson.dumps(tuple(record))).hexdigest()[:32]}"'


def require_meant(if_match: str | None, record: tuple[object, ...]) -> None:
    """Raise PreconditionFailed unless the header If-Match names the tag of *record*, or there is none."""
    tag = record_tag(record)
    if if_match is not None and {"*", tag}.isdisjoint(each.strip() for each in if_match.split(",")):
        raise PreconditionFailed(f"This was changed meanwhile; it is at {tag} now.")
