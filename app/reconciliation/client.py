"""Asks the provider what it charged, through its costs API and the openai SDK, once a day and off the hot path.

The SDK takes half a second and 14 MB to import, so that is left until it is needed: no start of Weir waits for it.

https://platform.openai.com/docs/api-reference/usage/costs
"""

import asyncio
import importlib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from app.reconciliation.costs_page import read_costs_page
from app.reconciliation.failure import ProviderFailed

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_TIMEOUT_SECONDS: Final = 30.0
"""The longest silence in one answer; the SDK asks twice more when there was none, a 429 or a 5xx."""
_TOTAL_SECONDS: Final = 180.0
_PAGES_MAX: Final = 1_000
_REFUSED: Final = (401, 403)


class ProviderClient:
    """The costs API of one provider, with an admin key."""

    def __init__(self, upstream: str, base_url: str, admin_api_key: str) -> None:
        self.upstream = upstream
        """The name that entries of the ledger have for it."""
        self._base_url = base_url
        self._admin_api_key = admin_api_key

    async def list_costs(self, day: date) -> list[tuple[str, Decimal]]:
        """Return the line items of *day*, in UTC, and dollars, as the provider has them on all pages.

        Raises ProviderFailed when it cannot be reached, refuses, or its answer makes no sense.
        """
        openai: Any = await asyncio.to_thread(importlib.import_module, "openai")
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                return await self._list_costs(openai, day)
        except (openai.APITimeoutError, TimeoutError):
            raise ProviderFailed("the provider did not answer in time") from None
        except openai.APIConnectionError as error:
            reason = type(error.__cause__ or error).__name__
            raise ProviderFailed(f"the provider cannot be reached: {reason}") from None
        except openai.APIStatusError as error:
            raise ProviderFailed(_refusal(error.status_code)) from None
        except (ValueError, openai.OpenAIError) as error:
            raise ProviderFailed(f"the provider's answer makes no sense: {error}") from None

    async def _list_costs(self, openai: Any, day: date) -> list[tuple[str, Decimal]]:
        # In a thread, as it reads the machine's certificates and imports more of the SDK.
        sdk = await asyncio.to_thread(self._open, openai)
        begin = datetime.combine(day, time(), UTC)
        start_time, end_time = int(begin.timestamp()), int((begin + timedelta(days=1)).timestamp())
        costs: list[tuple[str, Decimal]] = []
        cursor: dict[str, str] = {}
        async with sdk:
            for _ in range(_PAGES_MAX):
                answer = await sdk.admin.organization.usage.with_raw_response.costs(
                    start_time=start_time,
                    end_time=end_time,
                    bucket_width="1d",
                    group_by=["line_item"],
                    limit=1,
                    extra_query=cursor,
                )
                page = read_costs_page(answer.text, start_time)
                costs += page.costs
                if page.next_page is None:
                    return costs
                cursor = {"page": page.next_page}
        raise ValueError(f"it has more than {_PAGES_MAX} pages for one day")

    def _open(self, openai: Any) -> "AsyncOpenAI":
        sdk: AsyncOpenAI = openai.AsyncOpenAI(
            admin_api_key=self._admin_api_key, base_url=self._base_url, timeout=_TIMEOUT_SECONDS, max_retries=2
        )
        _ = sdk.admin.organization.usage
        return sdk


def _refusal(status: int) -> str:
    # Without the provider's own words: those of a 401 repeat parts of the key.
    if status in _REFUSED:
        return (
            f"the provider answered {status}: is WEIR_RECONCILIATION__ADMIN_API_KEY an admin key of the organization?"
        )
    return f"the provider answered {status}"
