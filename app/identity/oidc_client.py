"""Fetches what an OpenID Connect provider publishes: its discovery document, and its keys, as JWK only.

Only addresses from the settings, and from the document at that address, are asked; redirects are not followed.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from app.setting_groups import Oidc as OidcSettings

if TYPE_CHECKING:
    from aiohttp import ClientSession

_SIZE_BYTES_MAX: Final = 262_144


class ProviderAway(Exception):
    """The provider did not answer in time, or not as it must; the message is for operators."""


class OidcClient:
    """One identity provider; each fetch opens a connection of its own, as there are few."""

    def __init__(self, settings: OidcSettings) -> None:
        assert settings.issuer is not None, "asked only when it is set"  # noqa: S101 - narrows the type
        self._issuer = settings.issuer
        self._timeout_seconds = settings.timeout_seconds

    async def fetch_keys(self) -> list[dict[str, Any]]:
        """Return the provider's JWK set (RFC 7517); raises ProviderAway."""
        aiohttp: Any = await asyncio.to_thread(importlib.import_module, "aiohttp")  # few installations need it
        try:
            async with asyncio.timeout(self._timeout_seconds), aiohttp.ClientSession() as http:
                document = await _get(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                if document.get("issuer") != self._issuer:
                    raise ProviderAway("its discovery document names another issuer")
                address = document.get("jwks_uri")
                if not isinstance(address, str) or urlsplit(address).scheme != urlsplit(self._issuer).scheme:
                    raise ProviderAway("its discovery document has no jwks_uri that can be trusted")
                keys = (await _get(http, address)).get("keys")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ProviderAway(f"{type(error).__name__}: {error}") from error
        if not isinstance(keys, list):
            raise ProviderAway("its keys are no JWK set")
        return [key for key in keys if isinstance(key, dict)]


async def _get(http: "ClientSession", address: str) -> dict[str, Any]:
    async with http.get(address, allow_redirects=False) as response:
        if response.status != 200:
            raise ProviderAway(f"it answered {response.status} for {urlsplit(address).path}")
        body = await response.content.read(_SIZE_BYTES_MAX + 1)
        while len(body) <= _SIZE_BYTES_MAX and (more := await response.content.read(_SIZE_BYTES_MAX)):
            body += more
    if len(body) > _SIZE_BYTES_MAX:
        raise ProviderAway(f"more than {_SIZE_BYTES_MAX} bytes for {urlsplit(address).path}")
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ProviderAway(f"no JSON object at {urlsplit(address).path}")
    return document
