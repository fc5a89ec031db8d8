"""Makes limits as an administrator does."""

from typing import Any

from tests.fixtures.weir import RunningWeir

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}


async def make(weir: RunningWeir, **changes: Any) -> dict[str, Any]:
    """A limit of 3 requests per minute of the organization, unless it is to be another one."""
    new = {"name": "test", "scope": "organization", "counts": "requests", "per": "minute", "maximum": 3, **changes}
    async with weir.http(weir.admin_key) as client:
        answer = await client.post("/v1/gateway/limits", json=new)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made
