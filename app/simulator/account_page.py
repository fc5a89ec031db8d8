"""GET and DELETE /simulator/account: the simulator's books for who is in another process.

Never counts itself as a call.
"""

from urllib.parse import parse_qsl

import orjson

from app.simulator.account import Account
from app.simulator.exchange import Send
from app.simulator.refusal import Refusal, invalid_value, unknown_url

PATH = "/simulator/account"
_LIMIT_DEFAULT = 100
_LIMIT_MAX = 1000


async def send_account_page(account: Account, method: str, query: bytes, send: Send) -> None:
    """Answer one request about *account*: the records after a sequence number, or a reset."""
    try:
        status, body = 200, _page(account, method, query)
    except Refusal as refusal:
        status, body = refusal.status, refusal.body
    await send_json(send, status, body)


async def send_json(send: Send, status: int, body: bytes) -> None:
    """Send *body* as JSON, with nothing around it."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _page(account: Account, method: str, query: bytes) -> bytes:
    if method == "DELETE":
        account.reset()
        return orjson.dumps({"object": "simulator.account", "deleted": True})
    if method != "GET":
        raise unknown_url(method, PATH)
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    after = _number(parameters, "after", 0)
    limit = min(_number(parameters, "limit", _LIMIT_DEFAULT), _LIMIT_MAX)
    calls = account.find_after(after, limit + 1)
    page = {
        "object": "list",
        "data": [call.view() for call in calls[:limit]],
        "has_more": len(calls) > limit,
        "arrived": account.arrived_count,
        "ended": account.ended_count,
        "totals": account.totals,
    }
    return orjson.dumps(page)


def _number(parameters: dict[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid_value(name, f"Invalid '{name}': expected a whole number.")
    return int(text)
