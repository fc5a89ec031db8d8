"""The pages that describe the API, in a real browser: under their policy, from this server alone."""

import pytest

from tests.browser.chromium import open_page
from tests.fixtures.weir import RunningWeir

pytestmark = pytest.mark.needs("chromium")

_CHAT = "#operations-Chat-create_chat_completion_v1_chat_completions_post"
_STATUS = f"{_CHAT} .live-responses-table .response .response-col_status"


async def test_a_pasted_key_authorizes_and_try_it_out_answers(weir: RunningWeir) -> None:
    async with open_page(f"{weir.base_url}/docs") as page:
        described = sum(len(path) for path in weir.app.openapi()["paths"].values())
        assert await page.value("document.querySelectorAll('.opblock').length") == described
        await page.click(".btn.authorize")
        await page.type(".auth-container input", weir.api_key)
        await page.click(".auth-btn-wrapper .btn.authorize")
        await page.click(".auth-btn-wrapper .btn-done")
        await page.click(f"{_CHAT} .opblock-summary-control")
        await page.click(f"{_CHAT} .try-out__btn")
        await page.click(f"{_CHAT} .execute")
        status = await page.value(f"document.querySelector('{_STATUS}')?.innerText")
        assert status.startswith("200")
        assert page.complaints == []
    assert [url for url in page.loaded if not url.startswith((weir.base_url, "data:", "blob:"))] == []
    [entry] = await weir.entries()
    assert entry["status"] == 200


async def test_redoc_shows_the_whole_description(weir: RunningWeir) -> None:
    async with open_page(f"{weir.base_url}/redoc") as page:
        assert await page.value("document.querySelector('h1')?.innerText.startsWith('Weir')")
        assert await page.value("document.body.innerText.includes('Create a chat completion')")
        # ReDoc wants its maker's logo from elsewhere, which the policy does not allow.
        assert [complaint for complaint in page.complaints if "/logo-mini.svg" not in complaint] == []
