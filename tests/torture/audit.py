"""Compares what the three witnesses say, and names every promise that was broken. Pure.

It shares no line with Weir: what a call costs and which budgets it counts in is worked out here once more.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple
from uuid import UUID

from tests.torture.charge import Charge
from tests.torture.complaints import complaints, complaints_about_keys
from tests.torture.evidence import Evidence, Row, Window
from tests.torture.truth import Served

ATTEMPTS_MAX = 1
"""How often Weir itself sends one request upstream."""
EXCEEDED = "no budget is exceeded"
EXCEEDED_BY_ESTIMATES = "no budget is exceeded, not even where a cost could only be estimated"
_UNKNOWN_ENDINGS = frozenset({"estimated", "orphaned"})
"""Flagged: Weir could not know whether, or how far, the call was served."""


class Finding(NamedTuple):
    """A promise that was broken, and by which calls."""

    promise: str
    text: str


@dataclass
class Verdict:
    """What the audit found."""

    charges: list[Charge]
    findings: list[Finding] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    over_nano: int = 0
    """How much was spent above limits, by the simulator's account."""
    fullness: list[float] = field(default_factory=list)
    """How full each enforcing window is at the end by true cost: 1.0 is its limit."""

    def find(self, promise: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(promise, text))


def audit(evidence: Evidence) -> Verdict:
    """Return what is wrong with *evidence*: nothing, if every promise was kept."""
    verdict = Verdict(_charges(evidence.rows))
    _check_pairs(evidence, verdict)
    for charge in verdict.charges:
        _check_cost(evidence, charge, verdict)
    _check_windows(evidence, verdict)
    _check_rest(evidence, verdict)
    _check_clients(evidence, verdict)
    return verdict


def _charges(rows: list[Row]) -> list[Charge]:
    by_id: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        by_id[row.id].append(row)
    for group in by_id.values():
        group.sort(key=lambda row: "correction" in row.flags)
    return [Charge(group) for group in by_id.values()]


def _check_pairs(evidence: Evidence, verdict: Verdict) -> None:
    """Give every call its charge: none may be without, and none may have two."""
    charges: defaultdict[str, list[Charge]] = defaultdict(list)
    calls: defaultdict[str, list[Served]] = defaultdict(list)
    for charge in verdict.charges:
        charges[charge.last.request_id].append(charge)
    for call in evidence.served:
        calls[call.request_id].append(call)
    for request_id in charges.keys() | calls.keys():
        own_charges, own_calls = charges[request_id], calls[request_id]
        for call in _pair(own_charges, own_calls):
            verdict.lost += 1
            verdict.find("every call is in the ledger", f"{request_id}: {call.id} was served and is not charged")
        if len(own_charges) > max(ATTEMPTS_MAX, len(own_calls)):
            verdict.doubled += 1
            verdict.find("no call is charged twice", f"{request_id}: {len(own_charges)} charges for {len(own_calls)}")
    for charge in verdict.charges:
        _check_rows(charge, verdict)


def _pair(charges: list[Charge], calls: list[Served]) -> list[Served]:
    """Give each of one request's *calls* to its charge; return those that have none."""
    by_id = {call.id: call for call in calls}
    for charge in charges:
        if charge.last.upstream_request_id is not None:
            charge.call = by_id.pop(charge.last.upstream_request_id, None)
    for charge in charges:  # those that never got an answer
        if charge.last.upstream_request_id is None and by_id:
            charge.call = by_id.pop(next(iter(by_id)))
    return list(by_id.values())


def _check_rows(charge: Charge, verdict: Verdict) -> None:
    """A charge is one row; or two, when its process was taken for dead and spoke again."""
    row, shape = charge.last, [("correction" in row.flags, row.ending == "orphaned") for row in charge.rows]
    if len(shape) > 1 and shape != [(False, True), (True, False)]:
        verdict.doubled += 1
        verdict.find("no call is charged twice", f"{row.request_id}: its entry {row.id} has {len(shape)} rows")
    elif len(shape) == 1 and shape[0][0]:
        verdict.find("entries explain themselves", f"{row.request_id}: a correction of nothing")
    is_taken_back = row.ending == "released" and len(shape) > 1 and charge.cost_nano == 0  # it had not been sent
    if charge.call is None and row.ending not in _UNKNOWN_ENDINGS and not is_taken_back:
        verdict.find("no call is made up", f"{row.request_id}: {row.ending}, but the simulator never saw it")
    if unknown := charge.flags - {"orphaned", "correction", "overrun", "withheld"}:
        verdict.find("entries explain themselves", f"{row.request_id}: flagged {sorted(unknown)}")
    is_uncertain = row.ending == "estimated" and bool(row.window_ids) and charge.cost_nano < row.ceiling_nano
    if ("withheld" in charge.flags) != is_uncertain:
        found = f"{row.request_id}: {row.ending} at {charge.cost_nano} of {row.ceiling_nano}, {sorted(charge.flags)}"
        verdict.find("what an estimate may miss is withheld", found)


def _check_cost(evidence: Evidence, charge: Charge, verdict: Verdict) -> None:
    """What Weir knows is exact; what it does not know is flagged; nothing costs more than was held for it."""
    row, true_nano = charge.last, charge.true_nano
    if charge.call is not None and row.ending not in _UNKNOWN_ENDINGS and charge.cost_nano != true_nano:
        verdict.find(
            "a known cost is exact", f"{row.request_id}: {row.ending} at {charge.cost_nano}, and it was {true_nano}"
        )
    if row.ending == "orphaned" and charge.cost_nano != row.ceiling_nano:
        verdict.find("orphans cost their ceiling", f"{row.request_id}: {charge.cost_nano} of {row.ceiling_nano}")
    if row.ending == "settled" and "overrun" in charge.flags and row.request_id not in evidence.liars:
        found = (
            f"{row.request_id}: {row.ending} at {charge.cost_nano}, ceiling {row.ceiling_nano}, and it was {true_nano}"
        )
        verdict.find("only an upstream that breaks its cap overruns", found)
    is_above = max(true_nano, charge.cost_nano) > row.ceiling_nano
    if is_above and "overrun" not in charge.flags and row.request_id not in evidence.liars:
        verdict.find(
            "no call costs more than was held for it",
            f"{row.request_id}: {row.ending}, {max(true_nano, charge.cost_nano)} above {row.ceiling_nano}",
        )


def _check_windows(evidence: Evidence, verdict: Verdict) -> None:
    """A budget is never exceeded by the true costs of its calls, and counts exactly those that are its own."""
    inside: defaultdict[int, list[Charge]] = defaultdict(list)
    for charge in verdict.charges:
        for window_id in charge.last.window_ids:
            inside[window_id].append(charge)
    for window in evidence.windows:
        charges = inside[window.id]
        entered_nano = sum(charge.cost_nano for charge in charges)
        if window.spent_nano - window.opening_nano != entered_nano:
            verdict.find(
                "what a budget has spent is the sum of its entries",
                f"{window.name}: {window.spent_nano}, not {entered_nano}",
            )
        if window.reserved_nano != 0:
            verdict.find("nothing stays reserved", f"{window.name}: {window.reserved_nano}")
        if window.mode == "enforcing":
            _check_limit(window, charges, verdict)
    _check_membership(evidence, verdict)


def _check_limit(window: Window, charges: list[Charge], verdict: Verdict) -> None:
    """What the upstream broke its own cap for is owed, and is the upstream's doing: it counts as its ceiling here."""
    true_nano = sum(min(charge.true_nano, charge.last.ceiling_nano) for charge in charges)
    charged_nano = sum(min(charge.cost_nano, charge.last.ceiling_nano) for charge in charges)
    if window.limit_nano:
        verdict.fullness.append(true_nano / window.limit_nano)
    if charged_nano > window.limit_nano:
        verdict.find(EXCEEDED, f"{window.name}: {charged_nano} is charged, {window.limit_nano} is the limit")
    if true_nano > window.limit_nano:
        over_nano = true_nano - window.limit_nano
        verdict.over_nano += over_nano
        guessed_nano = sum(charge.too_little_nano for charge in charges if charge.last.ending == "estimated")
        found = f"{window.name}: {len(charges)} calls' true cost of {true_nano} is {over_nano} above the limit"
        verdict.find(EXCEEDED if over_nano > guessed_nano else EXCEEDED_BY_ESTIMATES, found)


def _check_membership(evidence: Evidence, verdict: Verdict) -> None:
    budget_of = {window.id: window.budget_id for window in evidence.windows}
    by_scope: defaultdict[tuple[str, str | None], dict[str, str | None]] = defaultdict(dict)
    for window in evidence.windows:
        by_scope[window.scope, window.scope_id][window.budget_id] = window.model
    for charge in verdict.charges:
        row = charge.last
        scopes = [("organization", None), ("project", row.project_id), ("api_key", row.key_id)]
        scopes += [("user", row.user_id)] if row.user_id is not None else []
        expected = {
            budget_id
            for scope in scopes
            for budget_id, model in by_scope[scope].items()
            if model is None or fnmatchcase(row.model, model)
        }
        counted = [budget_of[window_id] for window_id in row.window_ids]
        if len(counted) != len(set(counted)) or set(counted) != expected:
            verdict.find(
                "a call counts in every budget that it is under", f"{row.request_id}: {counted}, not {sorted(expected)}"
            )
        if len({each.window_ids for each in charge.rows}) > 1:
            verdict.find("a correction belongs to its entry's windows", row.request_id)


def _check_rest(evidence: Evidence, verdict: Verdict) -> None:
    for request_id in evidence.open_reservations:
        verdict.find("no reservation is left open", request_id)
    if evidence.processes != evidence.gateways:
        verdict.find("the dead are forgotten", f"{evidence.processes} processes are known, {evidence.gateways} run")
    for sight in evidence.early_sights:
        verdict.find(EXCEEDED, sight)


def _check_clients(evidence: Evidence, verdict: Verdict) -> None:
    """What the clients were told is what happened."""
    by_request = {charge.last.request_id: charge for charge in verdict.charges}
    served = {call.request_id for call in evidence.served}
    for seen in evidence.seen:
        for promise, text in complaints(seen, by_request.get(seen.request_id), seen.request_id in served):
            verdict.find(promise, f"{seen.request_id}: {text}")
    for promise, text in complaints_about_keys(evidence.seen, by_request):
        verdict.find(promise, text)
