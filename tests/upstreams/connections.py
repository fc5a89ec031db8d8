"""What a client of upstreams has open, for tests that ask whether something stays behind."""

from app.upstreams.client import UpstreamClient


def in_use(client: UpstreamClient) -> int:
    """Return how many connections calls have taken and not given back."""
    return client._settings.connections_max - client._pool._slots._value


def idle(client: UpstreamClient) -> int:
    """Return how many are kept for the next call."""
    return sum(map(len, client._pool._idle.values()))
