"""Where upstreams may be: every range that is not for everybody, and every way to write one of its addresses."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstreams.address import AddressRules, read_url, server_of, written

STRICT = AddressRules()
PRIVATE = AddressRules(allow_private=True)
PUBLIC = ("8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2606:4700::1111")
INSIDE = (
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.255.254", "100.64.0.1", "::1",
    "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255",
    "240.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1", "168.63.129.16", "100.100.100.200", "::", "fe80::1",
    "fe80::1%eth0", "ff02::1", "fec0::1", "fd00:ec2::254", "2001:db8::1", "2001:db8:1::1", "::7f00:1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert STRICT.refusal(address) is None
    assert not PRIVATE.is_inside(address)


@pytest.mark.parametrize("address", INSIDE)
def test_private_ones_are_allowed_by_a_setting_only(address: str) -> None:
    assert "WEIR_UPSTREAMS__ALLOW_PRIVATE_ADDRESSES" in (STRICT.refusal(address) or "")
    assert PRIVATE.refusal(address) is None
    assert PRIVATE.is_inside(address)


@pytest.mark.parametrize("address", NEVER)
def test_special_ones_are_refused_even_where_private_ones_are_not(address: str) -> None:
    for rules in (STRICT, PRIVATE):
        assert "WEIR_UPSTREAMS__ALLOWED_NETWORKS" in (rules.refusal(address) or "")


def test_an_allowed_network_is_allowed_and_its_neighbours_are_not() -> None:
    rules = AddressRules(networks=(ip_network("10.1.0.0/16"), ip_network("169.254.7.0/24"), ip_network("fd00::/16")))
    for address in ("10.1.2.3", "169.254.7.1", "::ffff:10.1.0.1", "fd00::1"):
        assert rules.refusal(address) is None
        assert rules.is_inside(address)
    for address in ("10.2.0.1", "169.254.169.254", "fd01::1"):
        assert rules.refusal(address) is not None


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
@pytest.mark.parametrize("prefix", ["::ffff:{}", "64:ff9b::{}", "2002:{hex}::", "2001:0:808:808:0:0:{inverted}"])
def test_an_ipv4_address_inside_an_ipv6_one_is_found(prefix: str, inner: str) -> None:
    numbers = [int(part) for part in inner.split(".")]
    hexadecimal = "{:02x}{:02x}:{:02x}{:02x}".format(*numbers)
    inverted = "{:02x}{:02x}:{:02x}{:02x}".format(*(255 - number for number in numbers))
    address = prefix.format(inner, hex=hexadecimal, inverted=inverted)
    assert STRICT.refusal(address) is not None


@given(st.ip_addresses())
def test_every_address_has_an_answer_and_what_is_open_to_all_is_not_private(address: object) -> None:
    if STRICT.refusal(str(address)) is None:
        assert PRIVATE.refusal(str(address)) is None
        assert not PRIVATE.is_inside(str(address))


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("HTTPS://API.OpenAI.com:443/v1/", "https://api.openai.com/v1"),
        ("https://api.example", "https://api.example"),
        ("http://my_ollama:11434/V1", "http://my_ollama:11434/V1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://10.0.0.1:80/", "http://10.0.0.1"),
        ("https://gateway.example/a/b-c/~d/openai/v1", "https://gateway.example/a/b-c/~d/openai/v1"),
    ],
)
def test_a_url_is_written_in_one_way(url: str, canonical: str) -> None:
    assert written(read_url(url)) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "//api.openai.com",
        "ftp://api.openai.com",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user@api.openai.com",
        "https://user:password@api.openai.com",
        "https://api.openai.com@10.0.0.1",
        "https://10.0.0.1#@api.openai.com",
        "https://10.0.0.1\\@api.openai.com",
        "https://api.openai.com?x=1",
        "https://api.openai.com/v1?api-version=1",
        "https://api.openai.com/v1#x",
        "https://api.openai.com/../admin",
        "https://api.openai.com/v1/./x",
        "https://api.openai.com//v1",
        "https://api.openai.com/%2e%2e/admin",
        "https://api%2eopenai.com",
        "https://api.openai.com:0/v1",
        "https://api.openai.com:65536",
        "https://api.openai.com:",
        "https://api.openai.com:443:443",
        "https://api openai.com",
        "https://api.openai.com/v1\r\nhost: x",
        "https://api.openai.com\x00.evil.example",
        "https://аpi.openai.com",  # noqa: RUF001 - a Cyrillic a
        "https://127.1",
        "https://0x7f.0.0.1",
        "https://0177.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.0.0.1.",
        "https://1.2.3.256",
        "https://[::1",
        "https://[::g]",
        "https://[1:2]",
        "https://[fe80::1%25eth0]",
        "https://-a.example",
        "https://" + "a" * 300 + ".example",
        "https://a.example/" + "a" * 200,
    ],
)
def test_what_two_programs_could_read_differently_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"its? ") as caught:
        read_url(url)
    assert "password" not in str(caught.value)


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://a.example", "https://10.0.0.1"]))
def test_whatever_is_read_is_the_same_when_it_is_read_again(text: str, begin: str) -> None:
    try:
        place = read_url(begin + text)
    except ValueError:
        return
    assert read_url(written(place)) == place


@pytest.mark.parametrize(
    ("url", "rules", "is_allowed"),
    [
        ("https://api.example/v1", STRICT, True),
        ("http://api.example/v1", STRICT, False),
        ("http://api.example/v1", PRIVATE, True),  # what DNS says of it decides
        ("http://8.8.8.8/v1", PRIVATE, False),
        ("https://8.8.8.8/v1", STRICT, True),
        ("https://10.0.0.1/v1", STRICT, False),
        ("http://10.0.0.1/v1", PRIVATE, True),
        ("http://[::1]:8080/v1", PRIVATE, True),
        ("http://[::1]:8080/v1", STRICT, False),
        ("https://169.254.169.254/v1", PRIVATE, False),
        ("http://10.1.0.1/v1", AddressRules(networks=(ip_network("10.1.0.0/16"),)), True),
        ("http://10.2.0.1/v1", AddressRules(networks=(ip_network("10.1.0.0/16"),)), False),
        ("http://127.0.0.1:8080/v1", AddressRules(trusted=frozenset({("127.0.0.1", 8080)})), True),
        ("http://127.0.0.1:8081/v1", AddressRules(trusted=frozenset({("127.0.0.1", 8080)})), False),
    ],
)
def test_the_settings_decide_where_a_url_may_lead(url: str, rules: AddressRules, is_allowed: bool) -> None:
    assert (rules.url_refusal(read_url(url)) is None) == is_allowed


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://api.openai.com/v1", ("api.openai.com", 443)),
        ("http://LocalHost:8080/v1", ("localhost", 8080)),
        ("http://[::1]/v1", ("::1", 80)),
        ("https://user:secret@host.example./v1", ("host.example", 443)),
    ],
)
def test_the_server_of_the_environments_url_is_known(url: str, server: tuple[str, int]) -> None:
    assert server_of(url) == server
    assert AddressRules(trusted=frozenset({server})).trusts(f"{server[0]}.", server[1])
