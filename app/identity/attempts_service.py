"""Throttles attempts to sign in, per account and per address: exact across replicas, and the same for unknown accounts.

PostgreSQL counts, without which nobody signs in anyway; should it be away, nobody gets to try a password.
"""

import hashlib
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.identity import attempts_repository as repository
from app.identity_errors import TooManySignIns
from app.setting_groups import Identity as IdentitySettings


class AttemptsService:
    """Raises DatabaseUnavailable when PostgreSQL is away or too busy."""

    def __init__(self, db: Database, settings: IdentitySettings, clock: Clock) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock

    async def admit(self, email: str, address: str | None) -> None:
        """Count an attempt before its password is looked at; raises TooManySignIns, also while others are under way."""
        now = self._clock()
        ends_at = now + timedelta(seconds=self._settings.attempts_window_seconds)
        async with self._db.transaction() as tx:
            of_address = await repository.count_attempt(tx, _address_digest(address), now, ends_at) if address else None
            counted = [] if of_address is None else [(of_address, self._settings.attempts_per_address)]
            # Whoever is refused by address does not keep others out of their accounts as well.
            if of_address is None or of_address.attempts <= self._settings.attempts_per_address:
                of_account = await repository.count_attempt(tx, _account_digest(email), now, ends_at)
                counted.append((of_account, self._settings.attempts_per_account))
        exceeded = [(window, maximum) for window, maximum in counted if window.attempts > maximum]
        if exceeded:
            wait = max(window.ends_at for window, _ in exceeded) - now
            is_first = any(window.attempts == maximum + 1 for window, maximum in exceeded)
            raise TooManySignIns(int(wait.total_seconds()) + 1, is_first=is_first)

    async def succeeded(self, tx: Transaction, email: str, address: str | None) -> None:
        """Forget the failed attempts of an account whose person came in, and do not hold theirs against the address."""
        if address:
            await repository.forget_one_attempt(tx, _address_digest(address))
        await repository.forget_attempts(tx, _account_digest(email))

    async def purge(self, tx: Transaction) -> None:
        """Delete what does not count any more."""
        await repository.purge(tx, self._clock())


def _account_digest(email: str) -> bytes:
    return hashlib.sha256(b"account " + email.encode()).digest()


def _address_digest(address: str) -> bytes:
    """Return the digest of an address, or of the /64 network of one in IPv6, which is what one household has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return hashlib.sha256(b"address " + address.encode()).digest()
    if isinstance(parsed, IPv6Address):
        place = parsed.packed[:8] if parsed.ipv4_mapped is None else parsed.ipv4_mapped.packed
    else:
        place = parsed.packed
    return hashlib.sha256(b"address " + place).digest()
