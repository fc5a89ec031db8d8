"""Where each provider's calls go, and how its credential travels."""

from dataclasses import replace

import pytest

from app.upstreams.providers.registry import address, credential_headers
from app.upstreams.routing import Upstream

OPENAI = Upstream("openai", "https://api.openai.com/v1", "planted", models=("*",))
AZURE = replace(OPENAI, provider="azure", base_url="https://acme.openai.azure.com")
CLASSIC = replace(AZURE, api_version="2024-10-21")
RESOURCE = "https://acme.openai.azure.com/openai"


@pytest.mark.parametrize(
    ("upstream", "path", "model", "url"),
    [
        (OPENAI, "/chat/completions", "gpt-4o", "https://api.openai.com/v1/chat/completions"),
        (OPENAI, "/files?limit=5", "", "https://api.openai.com/v1/files?limit=5"),
        (AZURE, "/chat/completions", "gpt-4o", f"{RESOURCE}/v1/chat/completions"),
        (AZURE, "/responses/resp_1?stream=true", "", f"{RESOURCE}/v1/responses/resp_1?stream=true"),
        (
            CLASSIC,
            "/chat/completions",
            "our-gpt-4o",
            f"{RESOURCE}/deployments/our-gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        (CLASSIC, "/embeddings", "a/b?c", f"{RESOURCE}/deployments/a%2Fb%3Fc/embeddings?api-version=2024-10-21"),
        (
            CLASSIC,
            "/images/edits?x=1&y=%20",
            "img",
            f"{RESOURCE}/deployments/img/images/edits?api-version=2024-10-21&x=1&y=%20",
        ),
        (CLASSIC, "/models", "", f"{RESOURCE}/models?api-version=2024-10-21"),
        (CLASSIC, "/files?limit=5", "", f"{RESOURCE}/files?api-version=2024-10-21&limit=5"),
        (CLASSIC, "/responses", "our-gpt-4o", f"{RESOURCE}/responses?api-version=2024-10-21"),
        (
            CLASSIC,
            "/chat/completions/chatcmpl_1",
            "m",
            f"{RESOURCE}/chat/completions/chatcmpl_1?api-version=2024-10-21",
        ),
    ],
)
def test_a_path_leads_where_the_provider_has_it(upstream: Upstream, path: str, model: str, url: str) -> None:
    assert address(upstream, path, model) == url


@pytest.mark.parametrize("end", ["", "/openai", "/openai/v1"])
def test_of_azure_every_address_that_people_copy_is_understood(end: str) -> None:
    for upstream in (AZURE, CLASSIC):
        copied = replace(upstream, base_url=upstream.base_url + end)
        assert address(copied, "/chat/completions", "m") == address(upstream, "/chat/completions", "m")


def test_the_credential_travels_in_the_providers_own_header_or_not_at_all() -> None:
    assert credential_headers(OPENAI) == {"authorization": "Bearer planted"}
    assert credential_headers(AZURE) == credential_headers(CLASSIC) == {"api-key": "planted"}
    for upstream in (OPENAI, AZURE):
        assert credential_headers(replace(upstream, api_key="")) == {}
