"""What DNS says is believed only where upstreams may be, each time that a connection is made."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from multidict import CIMultiDict
from yarl import URL

from app.settings import Settings
from app.upstreams.address import AddressRules, read_url
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.guarded_client import GuardedResolver
from tests.fixtures.canned import CannedUpstream
from tests.fixtures.weir import RunningWeir
from tests.upstreams.names import Names


def guarded(rules: AddressRules, **answers: list[list[str]]) -> GuardedResolver:
    resolver = GuardedResolver(rules)
    resolver._resolver = Names(**answers)
    return resolver


async def found(resolver: GuardedResolver, host: str, port: int = 443) -> list[str]:
    return [each["host"] for each in await resolver.resolve(host, port)]


async def test_only_the_addresses_that_are_allowed_are_connected_to() -> None:
    resolver = guarded(AddressRules(), api_example=[["10.0.0.1", "8.8.8.8", "::ffff:127.0.0.1", "2606:4700::1111"]])
    assert await found(resolver, "api.example") == ["8.8.8.8", "2606:4700::1111"]


async def test_a_name_that_leads_inside_only_is_refused_and_the_reason_names_the_address() -> None:
    resolver = guarded(AddressRules(), api_example=[["169.254.169.254", "10.0.0.1"]])
    with pytest.raises(OSError, match=r"it leads to 169\.254\.169\.254: it is a special-purpose address"):
        await found(resolver, "api.example")


async def test_the_environments_servers_may_be_anywhere_but_only_at_their_own_ports() -> None:
    resolver = guarded(AddressRules(trusted=frozenset({("vllm.lan", 8000)})), vllm_lan=[["10.0.0.1"]])
    assert await found(resolver, "vllm.lan", 8000) == ["10.0.0.1"]
    with pytest.raises(OSError, match="private network"):
        await found(resolver, "vllm.lan", 8001)


@pytest.mark.parametrize(
    ("url", "rules", "reason"),
    [
        ("https://public.example", AddressRules(), None),
        ("https://inside.example", AddressRules(), "it leads to 10.0.0.1: it is in a private network"),
        ("https://both.example", AddressRules(), "it leads to 10.0.0.1: "),
        ("https://unknown.example", AddressRules(), None),
        ("https://inside.example", AddressRules(allow_private=True), None),
        ("http://inside.example", AddressRules(allow_private=True), None),
        ("http://both.example", AddressRules(allow_private=True), "it leads to 8.8.8.8: without TLS"),
        ("http://public.example", AddressRules(), "without TLS"),
        ("https://10.0.0.1", AddressRules(), "private network"),
        ("https://8.8.8.8", AddressRules(), None),
        ("http://inside.example:81", AddressRules(trusted=frozenset({("inside.example", 81)})), None),
    ],
)
async def test_an_address_is_looked_up_before_it_is_saved(url: str, rules: AddressRules, reason: str | None) -> None:
    resolver = guarded(
        rules, public_example=[["8.8.8.8"]], inside_example=[["10.0.0.1"]], both_example=[["8.8.8.8", "10.0.0.1"]]
    )
    refusal = await resolver.refusal(read_url(url))
    assert refusal is None if reason is None else reason in (refusal or "")


@pytest.fixture
async def client_of() -> AsyncIterator[Any]:
    """Return what makes a client with a resolver, and closes it."""
    clients = []

    def make(resolver: GuardedResolver) -> UpstreamClient:
        clients.append(UpstreamClient(Settings().upstream, resolver))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def test_a_name_that_leads_elsewhere_later_is_not_followed(
    canned_weir: RunningWeir, canned: CannedUpstream, client_of: Any
) -> None:
    """DNS rebinding: what was looked up when the upstream was saved is not what a connection gets."""
    canned.answers_json({"data": []})
    resolver = guarded(AddressRules(), rebinding_example=[["8.8.8.8"], ["127.0.0.1"]])
    port = URL(canned_weir.settings.openai_base_url).port
    assert await resolver.refusal(read_url(f"https://rebinding.example:{port}")) is None

    with pytest.raises(UpstreamFailed, match=r"leads to 127\.0\.0\.1") as caught:
        await client_of(resolver).send("GET", URL(f"https://rebinding.example:{port}/"), CIMultiDict(), None)

    assert caught.value.failure == "not_sent"
    assert canned.requests == []
    assert canned.open_count == 0


async def test_the_systems_own_names_are_looked_up_too(
    canned_weir: RunningWeir, canned: CannedUpstream, client_of: Any
) -> None:
    canned.answers_json({"data": []})
    port = URL(canned_weir.settings.openai_base_url).port
    url = URL(f"http://localhost:{port}/v1/models")

    with pytest.raises(UpstreamFailed, match="private network or on this machine"):
        await client_of(GuardedResolver(AddressRules())).send("GET", url, CIMultiDict(), None)
    assert canned.requests == []

    with await client_of(GuardedResolver(AddressRules(allow_private=True))).send("GET", url, CIMultiDict(), None) as ok:
        assert ok.status == 200


async def test_what_it_asks_is_closed_with_it() -> None:
    resolver = guarded(AddressRules())
    await resolver.close()
    names: Any = resolver._resolver
    assert names.is_closed
