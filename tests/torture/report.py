"""What came of a run, as text: for the terminal and for the page."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.torture.audit import EXCEEDED, EXCEEDED_BY_ESTIMATES, Verdict
from tests.torture.charge import Charge
from tests.torture.run import Outcome

_NANO = 1_000_000_000
_SHOWN_MAX = 40
_FULL = 0.95
_BLOWS = {
    "gateway": "gateway killed (SIGKILL)",
    "freeze": "gateway frozen (SIGSTOP), up to past its lease",
    "postgres": "PostgreSQL killed (SIGKILL)",
    "valkey": "Valkey killed (SIGKILL)",
}


def report(outcome: Outcome) -> str:
    """Return the tables of one run, in Markdown."""
    return "\n".join(
        [
            *_table(("what was done", "times"), _deeds(outcome)),
            "",
            *_table(("requests of the clients", "sent", "what they met"), _requests(outcome)),
            "",
            *_table(
                ("how calls ended in the ledger", "calls", "charged", "true cost", "too much", "too little"),
                _endings(outcome.verdict),
            ),
            "",
            *_table(("promise", "broken"), _promises(outcome)),
        ]
    )


def complaints_text(verdict: Verdict) -> str:
    """Return the broken promises, with the requests concerned."""
    shown = [f"  {finding.promise}: {finding.text}" for finding in verdict.findings[:_SHOWN_MAX]]
    more = len(verdict.findings) - len(shown)
    return "\n".join(["BROKEN PROMISES:", *shown, *([f"  ... and {more} more"] if more > 0 else [])])


def _deeds(outcome: Outcome) -> Iterator[tuple[object, ...]]:
    options = outcome.options
    yield f"seed {options.seed}, {options.clients} clients, {options.gateways} gateways", f"{outcome.seconds:.0f} s"
    for kind, name in _BLOWS.items():
        yield name, outcome.blows[kind]
    yield "all blows", outcome.blows.total()
    yield "requests sent by clients", f"{len(outcome.evidence.seen):,}"
    yield "calls served by the simulator", f"{len(outcome.evidence.served):,}"
    yield "answers repeated for an idempotency key", sum(seen.is_replayed for seen in outcome.evidence.seen)
    full = [fullness for fullness in outcome.verdict.fullness if fullness > _FULL]
    yield "budgets: cohorts opened", outcome.cohorts
    yield (
        f"budgets: windows with a limit, and more than {_FULL:.0%} spent",
        (f"{len(outcome.verdict.fullness)}, {len(full)}; the fullest {max(outcome.verdict.fullness, default=0):.2%}"),
    )
    yield "budgets: topped up", outcome.top_ups


def _requests(outcome: Outcome) -> Iterator[tuple[object, ...]]:
    by_kind: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for seen in outcome.evidence.seen:
        replayed = "repeated answer" if seen.is_replayed else None
        met = replayed or seen.code or (str(seen.status) if seen.fate == "answered" and seen.status else seen.fate)
        by_kind[seen.kind][met] += 1
    for kind, all_met in sorted(by_kind.items()):
        yield kind, f"{all_met.total():,}", ", ".join(f"{name} {count:,}" for name, count in all_met.most_common())


def _endings(verdict: Verdict) -> Iterator[tuple[object, ...]]:
    groups: defaultdict[str, list[Charge]] = defaultdict(list)
    for charge in verdict.charges:
        row = charge.last
        name = f"{row.ending}: {row.outcome.replace('_', ' ')}"
        name += "".join(f", {flag}" for flag in sorted(charge.flags - {"orphaned"}))
        groups[name + (" (never arrived)" if charge.call is None else "")].append(charge)
    for name, charges in sorted(groups.items()):
        yield name, *_amounts(charges)
    yield "all", *_amounts(verdict.charges)


def _amounts(charges: list[Charge]) -> tuple[object, ...]:
    more = sum(max(0, charge.cost_nano - charge.true_nano) for charge in charges)
    less = sum(max(0, charge.true_nano - charge.cost_nano) for charge in charges)
    charged = sum(charge.cost_nano for charge in charges)
    return f"{len(charges):,}", _usd(charged), _usd(charged - more + less), _usd(more), _usd(less)


def _promises(outcome: Outcome) -> Iterator[tuple[object, ...]]:
    verdict = outcome.verdict
    yield "calls lost", verdict.lost
    yield "calls charged twice", verdict.doubled
    yield "dollars over a limit, by the simulator's account", _usd(verdict.over_nano)
    guessed = sum(finding.promise == EXCEEDED_BY_ESTIMATES for finding in verdict.findings)
    yield (
        "... in how many budgets, and in how many of them by estimates that were too low",
        (f"{guessed + sum(finding.promise == EXCEEDED for finding in verdict.findings)}, {guessed}"),
    )
    yield "reservations left open", len(outcome.evidence.open_reservations)
    yield from sorted(Counter(finding.promise for finding in verdict.findings).items())
    yield "all", len(verdict.findings)


def _usd(nano: int) -> str:
    return f"${nano / _NANO:.6f}"


def _table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
