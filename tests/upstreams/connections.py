"""What a client of upstreams has open, for tests that ask whether something stays behind."""

from app.upstreams.client import UpstreamClient


def in_use(client: UpstreamClient) -> int:
    """Return how many connections calls have taken and not given back."""
    pool = client._pool
    return client._settings.connections_max - pool._free - pool._handed_over._value


def idle(client: UpstreamClient) -> int:
    """Return how many are kept for the next call."""
    return sum(map(len, client._pool._idle.values()))
