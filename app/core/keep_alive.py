"""How sockets notice that nobody is there any more: by the kernel's own probes, where it has them.

Without, a pooled connection into a black hole would look alive until some call has waited there for minutes, and
firewalls would forget those that are idle.
"""

import socket
from typing import Any, Final

_IDLE_SECONDS: Final = 15
_INTERVAL_SECONDS: Final = 5
_PROBES: Final = 3
_UNACKNOWLEDGED_MS: Final = 30_000
# As on Linux (tcp(7)); other systems have some of them.
_OPTIONS: Final = (
    ("TCP_KEEPIDLE", _IDLE_SECONDS),
    ("TCP_KEEPINTVL", _INTERVAL_SECONDS),
    ("TCP_KEEPCNT", _PROBES),
    ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS),
)


def make_socket(address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, Any]) -> socket.socket:
    """Return a socket for *address*, as `getaddrinfo` has it."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    keep_alive(made)
    return made


def keep_alive(made: Any) -> None:
    """Have the kernel look after *made*, a socket or what an event loop shows of one; only after TCP's."""
    if made.family not in (socket.AF_INET, socket.AF_INET6):
        return
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
