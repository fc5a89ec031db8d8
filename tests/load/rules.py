"""The rules that a measured Weir has: budgets that enforce and limits, which all calls share and none reaches."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx

from app.keys import tokens

KEY = "bench-key-of-32-characters-or-more-000"
ADMIN_KEY = "bench-admin-key-of-32-characters-or-more"
PEPPER = "bench-pepper-of-32-characters-or-more"
USER = "user_bench"
_PLENTY = 10**12
_PATIENCE_SECONDS = 60.0
_COUNTS = (("requests", "minute"), ("tokens", "day"), ("output_tokens", "hour"), ("concurrent", None))


def database_url(directory: Path) -> str:
    """Return where the Weir that runs in *directory* has its PostgreSQL."""
    running: dict[str, str] = json.loads((directory / "data" / "running.json").read_bytes())
    return running["database_url"]


@asynccontextmanager
async def administering(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client for the management of the Weir on *port*."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    url = f"http://127.0.0.1:{port}/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_PATIENCE_SECONDS, trust_env=False) as client:
        yield client


async def make_rules(port: int, directory: Path, *, has_budgets: bool, has_limits: bool) -> None:
    """Give the key to somebody, and each of the four who pay for its calls a budget and a limit, of those wanted."""
    key_id = await _give_key(database_url(directory))
    scopes = {"organization": None, "project": "proj_default", "user": USER, "api_key": key_id}
    async with administering(port) as client:
        for (scope, scope_id), (what, per) in zip(scopes.items(), _COUNTS, strict=True):
            rule = {"name": "bench", "scope": scope, "scope_id": scope_id}
            budget = {**rule, "period": "month", "limit_usd": "1000000"}
            limit = {**rule, "counts": what, "per": per, "maximum": _PLENTY}
            for path, new, is_wanted in (("budgets", budget, has_budgets), ("limits", limit, has_limits)):
                if is_wanted:
                    answer = await client.post(f"/gateway/{path}", json=new)
                    assert answer.is_success, answer.text
    await asyncio.sleep(0.5)  # until every snapshot has them


async def _give_key(url: str) -> str:
    """Have the API key belong to a person, who is made; return the key's id."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO users (id, email, name, role) VALUES ($1, 'bench@example.org', 'Bench', 'member')", USER
            )
            await connection.execute(
                "INSERT INTO project_members (project_id, user_id, role) VALUES ('proj_default', $1, 'member')", USER
            )
            key_id: str = await connection.fetchval(
                "UPDATE api_keys SET user_id = $1 WHERE digest = $2 RETURNING id",
                USER,
                tokens.digest(KEY, PEPPER.encode()),
            )
    finally:
        await connection.close()
    return key_id
