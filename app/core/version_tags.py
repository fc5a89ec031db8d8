"""Entity tags (RFC 9110, section 8.8.3) of things whose rows count their versions. Pure."""

from datetime import datetime


def version_tag(version: int, used_at: datetime | None = None) -> str:
    """Return the tag of *version*; with *used_at*, one that differs whenever either differs."""
    use = "" if used_at is None else f"-{int(used_at.timestamp())}"
    return f'"{version}{use}"'


def is_wanted(if_match: str | None, version: int) -> bool:
    """Tell whether the header If-Match (RFC 9110, section 13.1.1) names *version*, or there is none.

    When something was used last does not matter: its version counts.
    """
    if if_match is None:
        return True
    tags = {tag.strip() for tag in if_match.split(",")}
    return "*" in tags or any(tag.startswith('"') and tag.strip('"').partition("-")[0] == str(version) for tag in tags)
