"""How a reservation can end, as a pure decision."""

from hypothesis import given
from hypothesis import strategies as st

from app.budgets.reservation import CORRECTION, UNRESERVED, entries_to_write, orphaned
from app.core.clock import utc_now
from tests.budgets.conftest import make_entry, make_reservation


def test_an_open_reservation_is_settled_by_its_entry() -> None:
    entry = make_entry()
    assert entries_to_write([entry], {entry.id}, {}) == [entry]


def test_a_second_try_of_a_commit_that_went_through_writes_nothing() -> None:
    entry = make_entry()
    assert entries_to_write([entry], set(), {entry.id: [("settled", entry.cost_nano)]}) == []


def test_a_settlement_after_the_sweep_corrects_what_the_sweep_charged() -> None:
    entry = make_entry(cost_nano=2_000)
    [written] = entries_to_write([entry], set(), {entry.id: [("orphaned", 9_000)]})
    assert written.cost_nano == -7_000
    assert CORRECTION in written.flags
    assert written.ending == "settled"


def test_a_correction_is_made_once() -> None:
    entry = make_entry(cost_nano=2_000)
    assert entries_to_write([entry], set(), {entry.id: [("orphaned", 9_000), ("settled", -7_000)]}) == []


def test_an_entry_whose_reservation_is_nowhere_is_written_and_flagged() -> None:
    entry = make_entry(flags=("model_not_priced",))
    [written] = entries_to_write([entry], set(), {})
    assert written.flags == ("model_not_priced", UNRESERVED)
    assert written.cost_nano == entry.cost_nano


def test_an_orphan_costs_its_ceiling() -> None:
    reservation = make_reservation(ceiling_nano=12_345)
    [entry] = orphaned([reservation], utc_now())
    assert (entry.id, entry.cost_nano, entry.ending, entry.outcome) == (
        reservation.id,
        12_345,
        "orphaned",
        "process_died",
    )
    assert (entry.request_id, entry.project_id, entry.key_id) == (
        reservation.request_id,
        reservation.project_id,
        reservation.key_id,
    )


@given(cost=st.integers(0, 10**12), ceiling=st.integers(0, 10**12), tries=st.integers(1, 4))
def test_whatever_is_tried_the_ledger_says_the_true_cost_once(cost: int, ceiling: int, tries: int) -> None:
    entry = make_entry(cost_nano=cost)
    rows = [("orphaned", ceiling)]
    for _ in range(tries):
        rows += [(row.ending, row.cost_nano) for row in entries_to_write([entry], set(), {entry.id: rows})]
    assert sum(amount for _, amount in rows) == cost
