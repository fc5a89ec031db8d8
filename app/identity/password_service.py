"""Passwords: hashed with Argon2id in threads of their own, few at once, as each takes 64 MiB and a core.

Two forms of one character count as the same (Unicode NFKC). It must never log or keep a password.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final, TypeVar

from app.core.imports import lazily
from app.errors import InvalidRequest, Unavailable
from app.setting_groups import Identity as IdentitySettings

Result = TypeVar("Result")

_passlib: Any = lazily("passlib.handlers.argon2")
_PENDING_MAX: Final = 100
# RFC 9106, section 4: with 64 MiB of memory, the second recommendation.
_TIME_COST: Final = 3
_PARALLELISM: Final = 4
_SALT_AND_HASH: Final = "gjDmfI+xFoLQGoNQyhmDkA$/kqRbEeHtNZNWPYmQrIGo/RLwT3O5HA4vqH88w8VtMc"


class PasswordService:
    """Hashes and compares; raises Unavailable when too many people are waiting for that already."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.password_threads, thread_name_prefix="password")
        self._pending = 0
        memory_kib = settings.password_memory_kib
        # Of a password that nobody knows: comparing with it takes as long as with anybody's.
        self._decoy = f"$argon2id$v=19$m={memory_kib},t={_TIME_COST},p={_PARALLELISM}${_SALT_AND_HASH}"

    @cached_property
    def _argon2(self) -> Any:
        memory_kib = self._settings.password_memory_kib
        options = {"memory_cost": memory_kib, "time_cost": _TIME_COST, "parallelism": _PARALLELISM}
        return _passlib.argon2.using(type="ID", **options)

    def require_good(self, password: str, param: str) -> None:
        """Raise InvalidRequest for a password that is too short to be chosen."""
        minimum = self._settings.password_characters_min
        if len(_normalized(password)) < minimum:
            raise InvalidRequest(f"A password needs {minimum} characters or more.", param=param)

    async def digest(self, password: str) -> str:
        """Return what to keep of *password*: with a salt, so never the same twice."""
        return await self._in_thread(self._argon2.hash, _normalized(password))

    async def is_right(self, password: str, digest: str | None) -> bool:
        """Tell whether *password* is the one of *digest*; without one it is not, which takes just as long."""
        is_same = await self._in_thread(self._argon2.verify, _normalized(password), digest or self._decoy)
        return is_same and digest is not None

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._pending >= _PENDING_MAX:
            raise Unavailable("Too many people are signing in right now.")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._pending -= 1


def _normalized(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
