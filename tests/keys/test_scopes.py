"""What a key may be used for, and from where."""

import pytest

from app.errors import Forbidden
from app.key_errors import AddressNotAllowed
from app.keys.access import require_address, require_scope
from app.keys.caller import Caller
from app.keys.networks import is_neighbourhood, neighbourhood, read_network
from app.keys.scopes import SCOPES, Scope, read_scope
from app.routes import ROUTES
from tests.fixtures.weir import RunningWeir

GRANTS: dict[str, set[str]] = {
    "": set(SCOPES),
    "api.all": set(SCOPES),
    "api.all.read": {"api.all.read", "api.model.read", "api.usage.read"},
    "api.model.read": {"api.model.read"},
    "api.model.request": {"api.model.request"},
    "api.usage.read": {"api.usage.read"},
}


def caller(*scopes: str, networks: tuple[str, ...] = ()) -> Caller:
    allowed = tuple(read_network(network) for network in networks)
    return Caller("key_1", "api", "proj_1", None, scopes=frozenset(scopes), networks=allowed)


@pytest.mark.parametrize("granted", GRANTS)
def test_a_scope_allows_what_it_says(granted: str) -> None:
    owner = caller(*filter(None, [granted]))
    for needed in SCOPES:
        if needed in GRANTS[granted]:
            require_scope(owner, needed)
        else:
            with pytest.raises(Forbidden, match=f"Missing scopes: {needed}"):
                require_scope(owner, needed)


def test_scopes_add_up() -> None:
    for needed in ("api.model.read", "api.model.request"):
        require_scope(caller("api.model.read", "api.model.request"), needed)


@pytest.mark.parametrize(("name", "scope"), [("model.request", "api.model.request"), ("model.read", "api.model.read")])
def test_the_short_names_of_openais_errors_are_known(name: str, scope: Scope) -> None:
    assert read_scope(name) == read_scope(scope) == scope


@pytest.mark.parametrize("name", ["", "api", "api.all.write", "API.ALL", "model.write", "*"])
def test_other_scopes_are_not(name: str) -> None:
    with pytest.raises(ValueError, match=r"it must be one of api\.all, "):
        read_scope(name)


def test_every_route_that_an_api_key_may_call_needs_a_scope() -> None:
    open_to_keys = {
        mount.access: [each for each in ROUTES if each.access == mount.access and each.scope is None]
        for mount in ROUTES
        if mount.access in ("any caller", "project caller")
    }
    # What is not supported says so to everybody.
    assert {access: len(mounts) for access, mounts in open_to_keys.items()} == {"any caller": 1, "project caller": 0}


async def test_a_restricted_key_is_refused_where_the_table_says(weir: RunningWeir) -> None:
    hi = {"model": "sim-small", "messages": [{"role": "user", "content": "Hi"}]}
    routes: list[tuple[str, str, Scope]] = [
        ("POST", "/v1/chat/completions", "api.model.request"),
        ("POST", "/v1/gateway/explain", "api.model.request"),
        ("GET", "/v1/models", "api.model.read"),
        ("GET", "/v1/models/sim-small", "api.model.read"),
        ("GET", "/v1/requests/req_nothing1", "api.usage.read"),
        ("GET", "/v1/gateway/my/budgets", "api.usage.read"),
        ("GET", "/v1/gateway/my/limits", "api.usage.read"),
    ]
    for scope in ("api.model.request", "api.model.read", "api.usage.read", "api.all.read"):
        await weir.sql("UPDATE api_keys SET scopes = ARRAY[$1]", scope)
        weir.wiring.keys.forget("")
        async with weir.http() as client:
            for method, path, needed in routes:
                answer = await client.request(method, path, json=hi if method == "POST" else None)
                is_allowed = needed in GRANTS[scope]
                assert (answer.status_code != 403) == is_allowed, (scope, path)
                if not is_allowed:
                    assert answer.json()["error"]["code"] == "insufficient_permissions"
    assert [call.model for call in weir.arrivals if call.model] == ["sim-small"]


INSIDE = [
    ("203.0.113.7", ("203.0.113.0/24",)),
    ("203.0.113.7", ("10.0.0.0/8", "203.0.113.7")),
    ("::ffff:203.0.113.7", ("203.0.113.0/24",)),
    ("203.0.113.7", ("::ffff:203.0.113.0/120",)),
    ("203.0.113.7", ("::ffff:203.0.113.7",)),
    ("203.0.113.7", ("::ffff:0:0/96",)),
    ("2001:db8::1", ("2001:db8::/32",)),
    (None, ()),
    ("nonsense", ()),
]
OUTSIDE = [
    ("203.0.114.1", ("203.0.113.0/24",)),
    ("2001:db8::1", ("0.0.0.0/0",)),
    ("203.0.113.7", ("::/0",)),
    ("203.0.114.1", ("::ffff:203.0.113.0/120",)),
    (None, ("0.0.0.0/0",)),
    ("", ("0.0.0.0/0",)),
    ("nonsense", ("0.0.0.0/0", "::/0")),
    ("203.0.113.7, 10.0.0.1", ("10.0.0.0/8",)),
]


@pytest.mark.parametrize(("address", "networks"), INSIDE)
def test_a_key_may_be_used_inside_its_networks(address: str | None, networks: tuple[str, ...]) -> None:
    require_address(caller(networks=networks), address)


@pytest.mark.parametrize(("address", "networks"), OUTSIDE)
def test_a_key_may_not_be_used_outside_of_them(address: str | None, networks: tuple[str, ...]) -> None:
    with pytest.raises(AddressNotAllowed, match="that you call from" if not address else "kept to certain networks"):
        require_address(caller(networks=networks), address)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "fe80::1%eth0", "10.0.0", "10.0.0.0/8/8", "host", "10.0.0.0/-1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's
        read_network(text)


@pytest.mark.parametrize(
    ("address", "neighbours"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        (None, ""),
        ("unix", "unix"),
    ],
)
def test_a_client_of_ipv6_has_a_network(address: str | None, neighbours: str) -> None:
    assert neighbourhood(address) == neighbours


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("203.0.113.7", True),
        ("2001:db8:0:1::/64", True),
        ("2001:db8:0:1::5", False),
        ("2001:DB8:0:1::/64", False),
        ("203.0.113.0/24", False),
        ("::ffff:203.0.113.7", False),
        ("nonsense", False),
    ],
)
def test_what_a_client_is_counted_as_is_written_in_one_way(text: str, is_one: bool) -> None:
    assert is_neighbourhood(text) is is_one
