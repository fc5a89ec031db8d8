"""Debian's Chromium without a window, driven by its DevTools protocol: no driver and no browser has to be downloaded.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_PATIENCE_SECONDS = 60


class Page:
    """One page: what it loads and what it complains of is remembered."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.loaded: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._session: str | None = None
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def open(self, url: str) -> None:
        """Go to *url*."""
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self._call(f"{domain}.enable")
        await self._call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """Return what JavaScript finds, as soon as that is something."""
        look = f"const found = ({expression}); found ? resolve(found) : setTimeout(look, 20);"
        promise = f"new Promise((resolve) => {{ const look = () => {{ {look} }}; look(); }})"
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answer = await self._call("Runtime.evaluate", expression=promise, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def click(self, selector: str) -> None:
        """Click on the first element that *selector* finds, when it is there."""
        element = f"document.querySelector({json.dumps(selector)})"
        await self.value(f"{element} && ({element}.click(), true)")

    async def type(self, selector: str, text: str) -> None:
        """Put *text* into a field as typing would, so that the page's own code hears of it."""
        element = f"document.querySelector({json.dumps(selector)})"
        setter = "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set"
        told = f"{element}.dispatchEvent(new Event('input', {{bubbles: true}}))"
        await self.value(f"{element} && ({setter}.call({element}, {json.dumps(text)}), {told})")

    async def listen(self) -> None:
        """Receive, until cancelled."""
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
                continue
            params = told["params"]
            if told["method"] == "Network.requestWillBeSent":
                self.loaded.append(params["request"]["url"])
            elif told["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        call = {"id": number, "method": method, "params": params}
        await self._socket.send_json(call if self._session is None else {**call, "sessionId": self._session})
        answer = await self._answers[number]
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result


@asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    """Open *url* in a browser of its own, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="weir-chromium-", ignore_cleanup_errors=True) as directory:
        browser = await asyncio.create_subprocess_exec(
            "chromium",
            *_OPTIONS,
            f"--user-data-dir={directory}",
            "--remote-debugging-port=0",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await _address(browser)
            async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                await page.open(url)
                yield page
                listening.cancel()
        finally:
            browser.terminate()
            await browser.communicate()


async def _address(browser: asyncio.subprocess.Process) -> str:
    assert browser.stderr is not None
    async with asyncio.timeout(_PATIENCE_SECONDS):
        async for line in browser.stderr:
            if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                return found[1].decode()
    raise AssertionError("Chromium ended before it listened")
