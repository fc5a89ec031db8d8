"""Completes settings with what is not configured: embedded servers, and a pepper kept beside their data.

The addresses of running servers are left in the data directory for the other `weir` commands of the same machine.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.embedded.servers import EmbeddedServerError, EmbeddedServers
from app.settings import Settings, SettingsError

_RUNNING = "running.json"
_PEPPER = "pepper"


@contextmanager
def completed(settings: Settings) -> Iterator[Settings]:
    """Yield *settings* with both URLs and the pepper set; what had to be started runs for as long as the block does.

    Raises SettingsError for an external database without a pepper, EmbeddedServerError when a server cannot start.
    """
    wants_postgres, wants_valkey = settings.database_url is None, settings.redis_url is None
    if not wants_postgres and settings.keys.pepper is None:
        raise SettingsError("WEIR_KEYS__PEPPER: required with WEIR_DATABASE_URL, the same for every replica")
    if not wants_postgres and not wants_valkey:
        yield settings
        return
    with ExitStack() as stack:
        servers = EmbeddedServers(
            settings.data_dir, postgres=wants_postgres, valkey=wants_valkey, postgres_bin=settings.pg_bin
        )
        try:
            stack.enter_context(servers)
        except EmbeddedServerError:
            running = _read_running(settings.data_dir)
            if running is None:
                raise
            yield _with(settings, running)
            return
        urls = {
            "database_url": servers.database_url if wants_postgres else None,
            "redis_url": servers.redis_url if wants_valkey else None,
        }
        stack.callback((settings.data_dir / _RUNNING).unlink, missing_ok=True)
        _write_private(settings.data_dir / _RUNNING, json.dumps({**urls, "pid": os.getpid()}))
        yield _with(settings, urls)


def _with(settings: Settings, urls: dict[str, str | None]) -> Settings:
    changes: dict[str, Any] = {name: SecretStr(url) for name, url in urls.items() if url is not None}
    if settings.keys.pepper is None:
        changes["keys"] = settings.keys.model_copy(update={"pepper": SecretStr(_pepper(settings.data_dir))})
    return settings.model_copy(update=changes)


def _pepper(data_dir: Path) -> str:
    path = data_dir / _PEPPER
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pepper = secrets.token_urlsafe(48)
        _write_private(path, pepper)
        return pepper


def _read_running(data_dir: Path) -> dict[str, str | None] | None:
    """Return the URLs that a Weir which is still running has left, None without one."""
    try:
        running: dict[str, Any] = json.loads((data_dir / _RUNNING).read_bytes())
        os.kill(running.pop("pid"), 0)
    except (OSError, ValueError, KeyError):
        return None
    return running


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
