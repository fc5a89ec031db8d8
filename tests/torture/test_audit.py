"""The audit is only worth something if it can fail: books are doctored, and each forgery is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.torture.audit import EXCEEDED, EXCEEDED_BY_ESTIMATES, audit
from tests.torture.evidence import Evidence, Row, Seen, Window
from tests.torture.truth import Served, true_cost_nano


def books() -> Evidence:
    """Return honest books of three calls: one settled, one orphaned and corrected, one orphaned on its way."""
    served = [_served("req-1"), _served("req-2", completion_tokens=7)]
    orphan_id = uuid4()
    cost_nano = true_cost_nano(served[1])
    rows = [
        _row("req-1", cost_nano=true_cost_nano(served[0]), upstream_request_id="up-req-1"),
        _row("req-2", id=orphan_id, ending="orphaned", flags=("orphaned",), cost_nano=500_000),
        _row(
            "req-2",
            id=orphan_id,
            flags=("correction",),
            cost_nano=cost_nano - 500_000,
            upstream_request_id="up-req-2",
        ),
        _row("req-3", ending="orphaned", flags=("orphaned",), cost_nano=500_000),
    ]
    spent_nano = sum(row.cost_nano for row in rows)
    windows = [
        Window(1, "bud_1", "project", "project", "proj_1", None, "enforcing", 1_100_000, 0, spent_nano, 0),
        Window(2, "bud_2", "everything", "organization", None, None, "observing", 1, 0, spent_nano, 0),
        Window(3, "bud_3", "another key", "api_key", "key_2", None, "enforcing", 1, 0, 0, 0),
    ]
    seen = [
        Seen("req-1", "plain", "key_1", fate="answered", status=200, usage=(30, 20)),
        Seen("req-2", "plain", "key_1", fate="timed_out"),
        Seen("req-3", "plain", "key_1", fate="broke"),
    ]
    return Evidence(served, rows, windows, seen, open_reservations=[], processes=2, gateways=2)


def _served(request_id: str, **changes: Any) -> Served:
    call = Served(f"up-{request_id}", request_id, "sim-small", 30, 4, 20, 200, "finished")
    return call._replace(**changes)


def _row(request_id: str, **changes: Any) -> Row:
    row = Row(
        id=uuid4(),
        request_id=request_id,
        upstream_request_id=None,
        project_id="proj_1",
        user_id=None,
        key_id="key_1",
        model="sim-small",
        ending="settled",
        outcome="completed",
        status=200,
        flags=(),
        cost_nano=0,
        ceiling_nano=500_000,
        window_ids=(1, 2),
    )
    return row._replace(**changes)


def test_honest_books_are_found_honest() -> None:
    verdict = audit(books())
    assert verdict.findings == []
    assert (verdict.lost, verdict.doubled, verdict.over_nano) == (0, 0, 0)


def test_what_was_never_sent_may_be_taken_back() -> None:
    evidence = books()
    take_back_what_was_not_sent(evidence)
    assert audit(evidence).findings == []


def lose_a_call(evidence: Evidence) -> None:
    evidence.served.append(_served("req-4"))


def lose_an_entry(evidence: Evidence) -> None:
    row = evidence.rows.pop(0)
    _spend(evidence, -row.cost_nano)


def charge_twice(evidence: Evidence) -> None:
    row = evidence.rows[0]._replace(id=uuid4())
    evidence.rows.append(row)
    _spend(evidence, row.cost_nano)


def write_a_row_twice(evidence: Evidence) -> None:
    row = evidence.rows[0]
    evidence.rows.append(row)
    _spend(evidence, row.cost_nano)


def correct_twice(evidence: Evidence) -> None:
    evidence.rows.append(evidence.rows[2])
    _spend(evidence, evidence.rows[2].cost_nano)


def correct_nothing(evidence: Evidence) -> None:
    _change(evidence, 0, flags=("correction",))


def take_back_what_was_not_sent(evidence: Evidence, cost_nano: int = -500_000) -> None:
    """A process that was taken for dead wakes up before it has sent anything."""
    orphan = _row("req-7", ending="orphaned", outcome="process_died", flags=("orphaned",), cost_nano=500_000)
    evidence.rows += [orphan, orphan._replace(ending="released", flags=("correction",), cost_nano=cost_nano)]
    _spend(evidence, 500_000 + cost_nano)


def take_back_a_part(evidence: Evidence) -> None:
    take_back_what_was_not_sent(evidence, -499_999)


def make_up_a_call(evidence: Evidence) -> None:
    evidence.rows.append(_row("req-9", upstream_request_id="up-req-9"))


def charge_too_little(evidence: Evidence) -> None:
    _change(evidence, 0, cost_nano=evidence.rows[0].cost_nano - 1)
    _spend(evidence, -1)


def charge_too_much(evidence: Evidence) -> None:
    _change(evidence, 0, cost_nano=evidence.rows[0].cost_nano + 1)
    _spend(evidence, 1)


def charge_an_orphan_less(evidence: Evidence) -> None:
    _change(evidence, 3, cost_nano=1)
    _spend(evidence, 1 - 500_000)


def hold_too_little(evidence: Evidence) -> None:
    _change(evidence, 0, ceiling_nano=10)


def flag_an_honest_call(evidence: Evidence) -> None:
    _change(evidence, 0, flags=("overrun",))


def flag_it_mysteriously(evidence: Evidence) -> None:
    _change(evidence, 0, flags=("unreserved",))


def withhold_of_a_known_cost(evidence: Evidence) -> None:
    _change(evidence, 0, flags=("withheld",))


def withhold_nothing_of_an_estimate(evidence: Evidence) -> None:
    _change(evidence, 0, ending="estimated", cost_nano=1)
    evidence.seen[0].usage = None


def exceed_a_budget(evidence: Evidence) -> None:
    evidence.windows[0] = evidence.windows[0]._replace(limit_nano=true_cost_nano(evidence.served[0]))


def exceed_a_budget_unnoticed(evidence: Evidence) -> None:
    """The ledger believes in an estimate that is within the limit; the simulator knows better."""
    _change(evidence, 0, ending="estimated", cost_nano=1)
    _change(evidence, 3, cost_nano=0, ceiling_nano=0)
    evidence.seen[0].usage = None
    spent_nano = sum(row.cost_nano for row in evidence.rows)
    evidence.windows[0] = evidence.windows[0]._replace(limit_nano=spent_nano)
    for place, window in enumerate(evidence.windows[:2]):
        evidence.windows[place] = window._replace(spent_nano=spent_nano)


def see_a_budget_exceeded_meanwhile(evidence: Evidence) -> None:
    evidence.early_sights.append("organization: 2 + 1 > 2")


def spend_more_than_the_entries(evidence: Evidence) -> None:
    _spend(evidence, 1)


def leave_something_reserved(evidence: Evidence) -> None:
    evidence.windows[1] = evidence.windows[1]._replace(reserved_nano=1)


def forget_a_budget(evidence: Evidence) -> None:
    row = evidence.rows[0]
    _change(evidence, 0, window_ids=(1,))
    evidence.windows[1] = evidence.windows[1]._replace(spent_nano=evidence.windows[1].spent_nano - row.cost_nano)


def correct_in_another_budget(evidence: Evidence) -> None:
    row = evidence.rows[2]
    _change(evidence, 2, window_ids=(1,))
    evidence.windows[1] = evidence.windows[1]._replace(spent_nano=evidence.windows[1].spent_nano - row.cost_nano)


def leave_a_reservation_open(evidence: Evidence) -> None:
    evidence.open_reservations.append("req-8")


def remember_the_dead(evidence: Evidence) -> None:
    evidence.processes = 3


@pytest.mark.parametrize(
    ("doctor", "promise"),
    [
        (lose_a_call, "every call is in the ledger"),
        (lose_an_entry, "every call is in the ledger"),
        (charge_twice, "no call is charged twice"),
        (write_a_row_twice, "no call is charged twice"),
        (correct_twice, "no call is charged twice"),
        (correct_nothing, "entries explain themselves"),
        (make_up_a_call, "no call is made up"),
        (take_back_a_part, "no call is made up"),
        (charge_too_little, "a known cost is exact"),
        (charge_too_much, "a known cost is exact"),
        (charge_an_orphan_less, "orphans cost their ceiling"),
        (hold_too_little, "no call costs more than was held for it"),
        (flag_an_honest_call, "only an upstream that breaks its cap overruns"),
        (flag_it_mysteriously, "entries explain themselves"),
        (withhold_of_a_known_cost, "what an estimate may miss is withheld"),
        (withhold_nothing_of_an_estimate, "what an estimate may miss is withheld"),
        (exceed_a_budget, EXCEEDED),
        (exceed_a_budget_unnoticed, EXCEEDED_BY_ESTIMATES),
        (see_a_budget_exceeded_meanwhile, EXCEEDED),
        (spend_more_than_the_entries, "what a budget has spent is the sum of its entries"),
        (leave_something_reserved, "nothing stays reserved"),
        (forget_a_budget, "a call counts in every budget that it is under"),
        (correct_in_another_budget, "a correction belongs to its entry's windows"),
        (leave_a_reservation_open, "no reservation is left open"),
        (remember_the_dead, "the dead are forgotten"),
    ],
    ids=lambda part: part.__name__ if callable(part) else "",
)
def test_a_forgery_is_found(doctor: Callable[[Evidence], None], promise: str) -> None:
    evidence = books()
    doctor(evidence)
    assert promise in {finding.promise for finding in audit(evidence).findings}


def test_lost_doubled_and_overspent_are_counted() -> None:
    evidence = books()
    lose_a_call(evidence)
    charge_twice(evidence)
    exceed_a_budget(evidence)
    verdict = audit(evidence)
    assert (verdict.lost, verdict.doubled) == (1, 1)
    assert verdict.over_nano > 0


def test_what_an_upstream_takes_above_its_cap_is_no_budgets_fault() -> None:
    evidence = books()
    evidence.seen[0].lies = True
    evidence.served[0] = _served("req-1", prompt_tokens=2_000)
    cost_nano = true_cost_nano(evidence.served[0])
    _spend(evidence, cost_nano - evidence.rows[0].cost_nano)
    _change(evidence, 0, cost_nano=cost_nano, flags=("overrun",))
    evidence.seen[0].usage = (2_000, 20)
    assert audit(evidence).findings == []


ANSWERED = books().seen[0]


@pytest.mark.parametrize(
    ("seen", "promise"),
    [
        (replace(ANSWERED, request_id="req-7"), "every answered call is in the ledger"),
        (replace(ANSWERED, usage=(30, 21)), "usage is what the upstream said"),
        (replace(ANSWERED, headers={"x-weir-cost-usd": "0.1"}), "the cost that is told is the cost"),
        (replace(ANSWERED, is_cut_silently=True), "a broken stream says so"),
        (replace(ANSWERED, status=401, code="invalid_api_key"), "answers are documented"),
        (replace(ANSWERED, status=500, code="internal_error", is_scripted_error=True), "answers are documented"),
        (replace(ANSWERED, status=500, code="service_unavailable"), "answers are documented"),
        (
            replace(ANSWERED, status=429, code="insufficient_quota"),
            "a spent budget says that trying again is no use",
        ),
        (replace(ANSWERED, status=429, code="budget_reserved"), "a held budget says that trying again helps"),
        (replace(ANSWERED, status=429, code="budget_reserved"), "who is to try again is told when"),
        (replace(ANSWERED, status=409, code="idempotency_key_in_use"), "who is to try again is told when"),
        (replace(ANSWERED, is_replayed=True), "a repeated answer costs nothing"),
        (replace(ANSWERED, status=503, code="service_unavailable"), "an unavailable Weir says when to try again"),
        (replace(ANSWERED, status=503, code="upstream_unavailable"), "an unavailable Weir says when to try again"),
        (replace(ANSWERED, status=503, code="upstream_unavailable"), "a call that is refused is not sent"),
        (replace(ANSWERED, status=429, code="budget_reserved"), "a call that is refused is not sent"),
        (replace(ANSWERED, status=429, code="insufficient_quota"), "a call that is refused is not charged"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_client_that_was_told_something_else_is_heard(seen: Seen, promise: str) -> None:
    evidence = books()
    evidence.seen[0] = seen
    assert promise in {finding.promise for finding in audit(evidence).findings}


def ask_again(evidence: Evidence, digest: str, **row: Any) -> None:
    """Let a client have asked for the first call once more under its idempotency key."""
    evidence.seen[0] = replace(ANSWERED, idempotency_key="a-key", digest="one")
    evidence.seen.append(replace(ANSWERED, request_id="req-5", idempotency_key="a-key", digest=digest))
    evidence.served.append(_served("req-5"))
    evidence.rows.append(
        _row("req-5", cost_nano=true_cost_nano(evidence.served[0]), upstream_request_id="up-req-5", **row)
    )


def test_two_answers_or_two_charges_for_one_idempotency_key_are_found() -> None:
    evidence = books()
    ask_again(evidence, "another")
    promises = {finding.promise for finding in audit(evidence).findings}
    assert promises >= {"one idempotency key, one charge", "one idempotency key, one answer"}


def test_an_answer_that_is_repeated_is_no_complaint() -> None:
    evidence = books()
    evidence.seen[0] = replace(ANSWERED, idempotency_key="a-key", digest="one")
    repeated = replace(evidence.seen[0], request_id="req-5", is_replayed=True)
    in_use = {"retry-after-ms": "1000"}
    evidence.seen += [
        repeated,
        Seen(
            "req-6",
            "asked again",
            "key_1",
            fate="answered",
            status=409,
            code="idempotency_key_in_use",
            headers=in_use,
            idempotency_key="a-key",
            digest="of a refusal",
        ),
    ]
    assert audit(evidence).findings == []


def test_documented_refusals_are_no_complaint() -> None:
    evidence = books()
    spent = {"x-should-retry": "false"}
    held = {"x-should-retry": "true", "retry-after-ms": "50"}
    evidence.seen += [
        Seen("req-5", "plain", "key_1", fate="answered", status=429, code="insufficient_quota", headers=spent),
        Seen("req-6", "plain", "key_1", fate="answered", status=429, code="budget_reserved", headers=held),
        Seen("req-7", "plain", "key_1", fate="answered", status=400, code="invalid_value", is_scripted_error=True),
    ]
    assert audit(evidence).findings == []


def _change(evidence: Evidence, place: int, **changes: Any) -> None:
    evidence.rows[place] = evidence.rows[place]._replace(**changes)


def _spend(evidence: Evidence, nano: int) -> None:
    """Let the windows agree with the rows, so that only the forgery itself is there to be found."""
    for place, window in enumerate(evidence.windows[:2]):
        evidence.windows[place] = window._replace(spent_nano=window.spent_nano + nano)


def test_the_price_arithmetic_is_the_one_on_the_bill() -> None:
    assert true_cost_nano(_served("x", prompt_tokens=1_000_000, cached_tokens=0, completion_tokens=0)) == 10**9
    assert true_cost_nano(_served("x", prompt_tokens=10, cached_tokens=10, completion_tokens=1)) == 5_000
    odd = _served("x", model="torture-odd", prompt_tokens=1, cached_tokens=0, completion_tokens=0)
    assert true_cost_nano(odd) == 1_000 + 334  # 333.333333 nano-dollars, rounded up
    assert true_cost_nano(_served("x", ending="refused")) == 0
