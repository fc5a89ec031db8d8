"""The keys of the identity provider, in memory: fetched now and then, and when a token names one that is unknown.

Whoever makes key ids up causes one fetch in `refetch_interval_seconds`; known keys go on working while the provider is
away.
"""

import asyncio
from typing import Final

import structlog

from app.core.clock import monotonic_seconds
from app.errors import Unavailable
from app.identity.jwt import Header, VerificationKey, public_keys
from app.identity.oidc_client import OidcClient, ProviderAway
from app.setting_groups import Oidc as OidcSettings

_log: Final = structlog.get_logger()


class ProviderKeyService:
    """Answers which keys a token may be signed with."""

    def __init__(self, client: OidcClient, settings: OidcSettings) -> None:
        self._client = client
        self._settings = settings
        self._keys: list[tuple[str | None, VerificationKey]] = []
        self._tried_seconds: float | None = None
        self._is_away = False
        self._fetching = asyncio.Lock()

    async def list_for(self, header: Header) -> list[VerificationKey]:
        """Return the keys with the header's id, or all when it has none; empty when there is none.

        Raises Unavailable when the one it needs may be one that could not be fetched.
        """
        found = self._known(header)
        if not found:
            await self._fetch()
            found = self._known(header)
        if not found and self._is_away:
            raise Unavailable("The identity provider cannot be reached right now.")
        return found

    async def keep_fresh(self) -> None:
        """Fetch the keys, now and whenever they are old, until cancelled."""
        while True:
            await self._fetch()
            await asyncio.sleep(
                self._settings.refetch_interval_seconds if self._is_away else self._settings.keys_lifetime_seconds
            )

    def _known(self, header: Header) -> list[VerificationKey]:
        return [key for key_id, key in self._keys if header.key_id in (None, key_id)]

    async def _fetch(self) -> None:
        async with self._fetching:
            now = monotonic_seconds()
            if self._tried_seconds is not None and now < self._tried_seconds + self._settings.refetch_interval_seconds:
                return
            self._tried_seconds = now
            try:
                documents = await self._client.fetch_keys()
            except ProviderAway as error:
                self._is_away = True
                _log.warning("identity_provider_away", reason=str(error))
                return
            self._is_away = False
            self._keys = [
                (document.get("kid"), key)
                for document in documents
                for key in public_keys(document, self._settings.algorithms)
            ]
