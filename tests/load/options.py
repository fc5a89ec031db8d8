"""How long and how large a run of measurements is."""

import argparse
from typing import NamedTuple

from tests.load.gateways import Gateway, peer

_PEER_HELP = "another gateway on loopback that takes calls for the model sim-small to the upstream; may be repeated"


class Options(NamedTuple):
    """What the command line says."""

    rounds: int = 5
    """How often each is measured, in turn; medians are shown."""
    seconds: float = 1.0
    """How long a round is; what needs longer ones takes some times that."""
    rows: int = 1_000_000
    """Of the large ledger."""
    upstream_port: int = 0
    """Where the upstream listens, so that peers can be told before; 0 for any port."""
    peers: tuple[Gateway, ...] = ()

    def __str__(self) -> str:
        """Return what was asked for that is not the default, keys of peers aside."""
        given = [f"{self.rows:,} rows in the large ledger"] if self.rows != Options().rows else []
        given += [f"{peer.name} at port {peer.port}" for peer in self.peers]
        return ", ".join(given) or "no options"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add those to *parser*."""
    default = Options()
    parser.add_argument(
        "--rounds", type=_at_least_one, default=default.rounds, help="how often each is measured, in turn"
    )
    parser.add_argument("--seconds", type=_positive, default=default.seconds, help="how long a round is")
    parser.add_argument("--rows", type=_at_least_one, default=default.rows, help="rows of the large ledger")
    parser.add_argument(
        "--peer", action="append", default=[], type=peer, metavar="NAME=URL,KEY[,HEADER...]", help=_PEER_HELP
    )
    parser.add_argument("--upstream-port", type=int, default=0, help="where the upstream of all gateways listens")


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positive(text: str) -> float:
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def options_of(arguments: argparse.Namespace) -> Options:
    """Return what was given."""
    return Options(arguments.rounds, arguments.seconds, arguments.rows, arguments.upstream_port, tuple(arguments.peer))
