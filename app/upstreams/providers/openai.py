"""How OpenAI, and every server that speaks as it does, is addressed. Pure.

https://platform.openai.com/docs/api-reference/authentication
"""

from app.upstreams.routing import Upstream


def address(upstream: Upstream, path: str, _: str) -> str:
    """Return the URL for *path*, such as `/chat/completions`, which may have a query."""
    return f"{upstream.base_url}{path}"


def credential_headers(upstream: Upstream) -> dict[str, str]:
    """Return the header with the credential; none where the server needs none."""
    return {"authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else {}
