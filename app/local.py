"""Completes settings with what is not configured: embedded servers, and a pepper kept beside their data.

The addresses of running servers are left in the data directory for the other `weir` commands of the same machine.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from app.embedded.failure import from_os_error
from app.embedded.postgres import CONNECTIONS_MAX
from app.embedded.servers import DirectoryInUse, EmbeddedServers
from app.settings import Settings, SettingsError

_RUNNING: Final = "running.json"
_PEPPER: Final = "pepper"
_SPARE_CONNECTIONS: Final = 20


@contextmanager
def completed(settings: Settings, tell: Callable[[str], None], *, share: bool) -> Iterator[Settings]:
    """Yield *settings* with both URLs and the pepper set; what had to be started runs for as long as the block does.

    With *share*, the servers of a Weir that has the data directory already are used. *tell* hears of what takes long.
    Raises SettingsError when a pepper is missing that must not be made, EmbeddedServerError when a server cannot start.
    """
    wants_postgres, wants_valkey = settings.database_url is None, settings.redis_url is None
    if not wants_postgres and settings.keys.pepper is None:
        raise SettingsError("WEIR_KEYS__PEPPER: required with WEIR_DATABASE_URL, the same for every replica")
    if not wants_postgres and not wants_valkey:
        yield settings
        return
    is_new = not _exists(settings.data_dir / "embedded" / ("postgres" if wants_postgres else "valkey"))
    if is_new:
        names = " and ".join(["PostgreSQL"] * wants_postgres + ["Valkey"] * wants_valkey)
        tell(f"Setting up {names} in {settings.data_dir} ...")
    servers = EmbeddedServers(
        settings.data_dir,
        postgres=wants_postgres,
        valkey=wants_valkey,
        postgres_bin=settings.pg_bin,
        connections_max=_connections_max(settings),
    )
    try:
        servers.start()
    except DirectoryInUse:
        running = _read_running(settings.data_dir) if share else None
        if running is None:
            raise
        shared = _with_urls(_with_pepper_in_use(settings, is_kept=running.pop("keeps_pepper", True)), running)
        _require_urls(shared)
        yield shared
        return
    running_file = settings.data_dir / _RUNNING
    with servers:
        urls = {
            "database_url": servers.database_url if wants_postgres else None,
            "redis_url": servers.redis_url if wants_valkey else None,
        }
        complete = _with_urls(_with_pepper(settings, tell, is_new=is_new), urls)
        keeps_pepper = _has_pepper(complete, _read(settings.data_dir / _PEPPER))
        _write_private(running_file, json.dumps({**urls, "pid": os.getpid(), "keeps_pepper": keeps_pepper}))
        try:
            yield complete
        finally:
            running_file.unlink(missing_ok=True)


def _connections_max(settings: Settings) -> int:
    """Return how many connections all workers can come to have, and commands beside them."""
    database = settings.database
    of_worker = database.pool_size + database.hot_pool_size + 1  # which listens
    return max(CONNECTIONS_MAX, (settings.server.workers or 1) * of_worker + _SPARE_CONNECTIONS)


def _with_urls(settings: Settings, urls: dict[str, str | None]) -> Settings:
    missing = {name: url for name, url in urls.items() if url is not None and getattr(settings, name) is None}
    return settings.model_copy(update={name: SecretStr(url) for name, url in missing.items()})


def _with_pepper(settings: Settings, tell: Callable[[str], None], *, is_new: bool) -> Settings:
    if settings.keys.pepper is not None:
        return settings
    path = settings.data_dir / _PEPPER
    pepper = _read(path)
    if pepper is None:
        if not is_new:
            tell(f"Warning: {path} is missing and is made anew: keys that were made before do not work any more.")
        pepper = secrets.token_urlsafe(48)
        _write_private(path, pepper)
    return _peppered(settings, pepper)


def _with_pepper_in_use(settings: Settings, *, is_kept: bool) -> Settings:
    """Return *settings* with the pepper that the running Weir uses; another one would make keys that never work.

    Where it was given one, and does not have the one that *is_kept* in the data directory, nobody else knows it.
    """
    if settings.keys.pepper is not None:
        return settings
    pepper = _read(settings.data_dir / _PEPPER) if is_kept else None
    if pepper is None:
        raise SettingsError("WEIR_KEYS__PEPPER: the running Weir was given one; give this command the same")
    return _peppered(settings, pepper)


def _has_pepper(settings: Settings, pepper: str | None) -> bool:
    return settings.keys.pepper is not None and settings.keys.pepper.get_secret_value() == pepper


def _require_urls(settings: Settings) -> None:
    for name in ("database_url", "redis_url"):
        if getattr(settings, name) is None:
            raise SettingsError(f"WEIR_{name.upper()}: the running Weir was given one; give this command the same")


def _peppered(settings: Settings, pepper: str) -> Settings:
    keys = settings.keys.model_copy(update={"pepper": SecretStr(pepper)})
    return settings.model_copy(update={"keys": keys})


def _read_running(data_dir: Path) -> dict[str, Any] | None:
    """Return what a Weir which is still running has left: URLs, and whether it has the pepper of the data directory."""
    try:
        running: dict[str, Any] = json.loads((data_dir / _RUNNING).read_bytes())
        os.kill(running.pop("pid"), 0)
    except (OSError, ValueError, KeyError):
        return None
    return running


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise from_os_error(error, path.parent) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, path.parent) from error


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except OSError as error:
        raise from_os_error(error, path.parent) from error
