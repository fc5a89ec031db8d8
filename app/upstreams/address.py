"""Where an upstream may be: which URLs and which IP addresses Weir sends calls and credentials to. Pure.

An administrator who may add upstreams must not thereby reach what is inside the operator's network.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_IpAddress = IPv4Address | IPv6Address
_IpNetwork = IPv4Network | IPv6Network

# Stricter than RFC 3986, so that no two programs can read a URL differently: no user, query, escapes, backslashes.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9.])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]{1,128}){0,16})/?"
)
NEEDS_TLS: Final = "without TLS (https://) it may only be in a private network that a setting allows"
_PORTS: Final = {"http": 80, "https": 443}


def _networks(*texts: str) -> tuple[_IpNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


_PRIVATE: Final = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)
# Where clouds keep credentials of machines: Alibaba, Azure's host, AWS and Google (IPv6). The others' are below.
_METADATA: Final = _networks("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128")
# What is not for everybody by the IANA registries of special-purpose addresses, which Python's own lists follow late.
_SPECIAL: Final = _networks(
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


class Place(NamedTuple):
    """What a base URL says: the server, and whether it is spoken to over TLS."""

    scheme: str
    host: str
    """Without brackets."""
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who gets to see what is sent there."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> _IpAddress | None:
        """The IP address that the host is written as, None for a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def read_url(url: str) -> Place:
    """Return what *url* says; raises ValueError with a reason that does not quote it."""
    match = _URL.fullmatch(_lower_host(url))
    if match is None:
        raise ValueError(
            "it must be a URL such as https://api.openai.com/v1: http or https, a host name or address, no user, "
            "query, fragment or escapes"
        )
    port = int(match["port"] or _PORTS[match["scheme"]])
    place = Place(match["scheme"], match["host"].strip("[]"), port, match["path"])
    if not 0 < port < 65_536:
        raise ValueError("its port must be 1 to 65535")
    if {".", ".."} & set(place.path.split("/")):
        raise ValueError("its path must not have '.' or '..' in it")
    # What ends in a number is an address to some programs and a name to others, such as 127.1 and 0x7f.0.0.1.
    is_number = re.search(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$", place.host) is not None
    if place.address is None and (is_number or ":" in place.host):
        raise ValueError("its host is not an IP address as they are usually written, nor a name")
    return place


def written(place: Place) -> str:
    """Return *place* as a base URL, in one way only: without the usual port, and without a slash at its end."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    port = "" if place.port == _PORTS[place.scheme] else f":{place.port}"
    return f"{place.scheme}://{host}{port}{place.path}"


def server_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL that the operator configured, however it is written."""
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator allows."""

    allow_private: bool = False
    networks: tuple[_IpNetwork, ...] = ()
    """Allowed whatever they are."""
    trusted: frozenset[tuple[str, int]] = frozenset()
    """Hosts and ports of the upstreams from the environment, which may be anywhere."""

    def trusts(self, host: str, port: int) -> bool:
        """Tell whether *host* is one that the operator configured."""
        return (host.rstrip("."), port) in self.trusted

    def refusal(self, address: str) -> str | None:
        """Return why nothing may be sent to this IP address; None if it may."""
        return self._refusal(_meant(ip_address(address)))

    def url_refusal(self, place: Place) -> str | None:
        """Return why an upstream may not be at *place*, as far as can be told without asking DNS; None if it may."""
        if self.trusts(place.host, place.port):
            return None
        address = place.address
        if address is not None and (reason := self.refusal(str(address))) is not None:
            return reason
        opens = self.allow_private or bool(self.networks)
        if place.scheme == "http" and not (opens if address is None else self.is_inside(str(address))):
            return NEEDS_TLS
        return None

    def is_inside(self, address: str) -> bool:
        """Tell whether *address* is in a network that a setting allows, so that calls may go there without TLS."""
        meant = _meant(ip_address(address))
        return _is_in(meant, self.networks) or (self.allow_private and _is_in(meant, _PRIVATE))

    def _refusal(self, address: _IpAddress) -> str | None:
        if _is_in(address, self.networks):
            return None
        if _is_in(address, _METADATA):
            return "it is where clouds keep credentials of machines (WEIR_UPSTREAMS__ALLOWED_NETWORKS)"
        if _is_in(address, _PRIVATE):
            setting = "(WEIR_UPSTREAMS__ALLOW_PRIVATE_ADDRESSES)"
            return None if self.allow_private else f"it is in a private network or on this machine {setting}"
        is_special = _is_in(address, _SPECIAL) or (address.version == 6 and address not in _GLOBAL_IPV6)
        return "it is a special-purpose address (WEIR_UPSTREAMS__ALLOWED_NETWORKS)" if is_special else None


def _meant(address: _IpAddress) -> _IpAddress:
    """Return the IPv4 address where *address* is only another way to write one, else *address*."""
    if isinstance(address, IPv4Address):
        return address
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address.ipv4_mapped or address


def _is_in(address: _IpAddress, networks: tuple[_IpNetwork, ...]) -> bool:
    return any(address in network for network in networks)


def _lower_host(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{authority.lower()}{slash}{path}"
