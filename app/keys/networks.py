"""The networks that a key may be used from. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_IPV4_MAPPED_BITS: Final = 96


def read_network(text: str) -> Network:
    """Return the network that *text* is, such as `10.0.0.0/8` or one address (RFC 4632); raises ValueError.

    Bits behind the prefix must be 0: with them it is not clear what was meant. An IPv4 network in IPv6's clothes is the
    IPv4 network, as `is_inside` reads addresses.
    """
    if "%" in text:
        raise ValueError("an address with a zone means something else on every machine")
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - _IPV4_MAPPED_BITS))


@lru_cache(maxsize=4_096)
def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_inside(address: str | None, networks: Iterable[Network]) -> bool:
    """Tell whether *address* is in one of *networks*; one that is not known is in none.

    An IPv4 address in IPv6's clothes (RFC 4291, section 2.5.5.2) is the IPv4 address.
    """
    found = None if address is None else _read_address(address)
    return found is not None and any(found in network for network in networks)


def neighbourhood(address: str | None) -> str:
    """Return what is likely one client's: the address, or in IPv6 its /64, of which a client has all."""
    found = None if address is None else _read_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return (address or "") if found is None else str(found)


def is_neighbourhood(text: str) -> bool:
    """Tell whether *text* is what `neighbourhood` returns of some address."""
    try:
        network = read_network(text)
    except ValueError:
        return False
    return neighbourhood(str(network.network_address)) == text
