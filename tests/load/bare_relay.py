"""The baseline: an ASGI application that relays bodies with aiohttp and does nothing else at all."""

import os
from typing import Any

import aiohttp

UPSTREAM = os.environ.get("BARE_RELAY_UPSTREAM", "")
_HEADERS = {"content-type": "application/json", "authorization": "Bearer bench"}
_session: list[aiohttp.ClientSession] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        _session.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1_000)))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await _session[0].close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    async with _session[0].post(UPSTREAM + scope["path"], data=body, headers=_HEADERS) as answer:
        content_type = answer.headers["content-type"].encode()
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [(b"content-type", content_type)]}
        )
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
