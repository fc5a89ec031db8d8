"""What settings may be: their types, each of which says what is wrong with a value without repeating it."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

_SECRET_CHARACTERS_MIN: Final = 32
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@\s]*)(?::(?P<port>[0-9]{1,5}))?")
_PORT_MAX: Final = 65_535
_HINT: Final = "; in a password such characters as / ? # @ are written as %2F %3F %23 %40"
_DSN: Final = re.compile(r"https?://[^@/\s]+@[^@/\s]+/(?:\S+/)?[0-9]+")
"""https://develop.sentry.dev/sdk/foundations/transport/authentication/#dsns--ingestion"""


def _require_strength(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < _SECRET_CHARACTERS_MIN:
        raise ValueError(f"must have {_SECRET_CHARACTERS_MIN} characters or more, got {len(text)}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces, as it travels in a header")
    return secret


def _require_header_text(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()  # files that hold a secret often end in a newline
    if not text:
        raise ValueError("must not be blank")
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be printable ASCII, as it travels in a header")
    return SecretStr(text)


def _require_address(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    """Return what refuses addresses of servers that have another scheme, or that programs would read differently."""

    def require(address: SecretStr) -> SecretStr:
        url = address.get_secret_value()
        if not url.startswith(schemes):
            raise ValueError(f"must start with {' or '.join(schemes)}")
        authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
        if "@" in path or "#" in url:
            raise ValueError(f"must be scheme://user:password@host:port/name{_HINT}")
        for server in authority.rpartition("@")[2].split(","):
            _require_server(server, _HINT)
        return address

    return require


def _require_server(text: str, hint: str = "") -> None:
    match = _SERVER.fullmatch(text)
    if match is None or int(match["port"] or 1) not in range(1, _PORT_MAX + 1):
        raise ValueError(f"must have a host, and a port of 1 to {_PORT_MAX} if any, behind its ://{hint}")


def _require_http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    authority = url.partition("://")[2].partition("/")[0]
    if not authority or any(character in url for character in "@?# "):
        raise ValueError("must be such as https://api.example.org/v1: a host, no user, query or fragment")
    _require_server(authority)
    return url.rstrip("/")


def _require_secure(url: str) -> str:
    address = urlsplit(url)
    if address.scheme != "https" and not (address.scheme == "http" and address.hostname in ("localhost", "127.0.0.1")):
        raise ValueError("must start with https://, or be on this machine")
    return url


def _require_dsn(dsn: SecretStr) -> SecretStr:
    if not _DSN.fullmatch(dsn.get_secret_value()):
        raise ValueError("must be such as https://key@sentry.example.org/1")
    return dsn


def _require_network(text: str) -> str:
    if ip_network(text).prefixlen == 0:
        raise ValueError("must not be every address: then clients could choose theirs")
    return text


RoleName = Literal["owner", "admin", "member", "viewer"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
IpNetwork = Annotated[str, AfterValidator(_require_network)]
StrongSecret = Annotated[SecretStr, AfterValidator(_require_strength)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_require_header_text)]
HttpAddress = Annotated[str, AfterValidator(_require_http)]
"""Without a slash at its end."""
SecureAddress = Annotated[str, AfterValidator(_require_secure)]
SentryDsn = Annotated[SecretStr, AfterValidator(_require_dsn)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_require_address("postgresql://", "postgres://"))]
RedisUrl = Annotated[SecretStr, AfterValidator(_require_address("redis://", "rediss://", "unix://"))]
