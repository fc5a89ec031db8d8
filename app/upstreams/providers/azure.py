"""How Azure OpenAI is addressed: by its v1 API, or by deployments where an upstream has an API version. Pure.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from typing import Final
from urllib.parse import quote

from app.upstreams.routing import Upstream

# What a deployment does; everything else (models, files, batches, responses ...) is the resource's.
_OF_DEPLOYMENTS: Final = (
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/images/edits",
    "/images/generations",
)


def address(upstream: Upstream, path: str, deployment: str) -> str:
    """Return the URL for *path*; with an API version, calls to models are the business of a *deployment*."""
    resource = upstream.base_url.removesuffix("/v1").removesuffix("/openai")  # people copy the one or the other
    if upstream.api_version is None:
        return f"{resource}/openai/v1{path}"
    plain_path, _, query = path.partition("?")
    place = f"/deployments/{quote(deployment, safe='')}" if deployment and plain_path in _OF_DEPLOYMENTS else ""
    return f"{resource}/openai{place}{plain_path}?api-version={upstream.api_version}{query and f'&{query}'}"


def credential_headers(upstream: Upstream) -> dict[str, str]:
    """Return the header with the credential."""
    return {"api-key": upstream.api_key} if upstream.api_key else {}
