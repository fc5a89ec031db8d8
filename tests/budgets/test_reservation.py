"""How a reservation can end, as a pure decision."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.budgets.reservation import CORRECTION, UNRESERVED, WITHHELD, Hold, Move, holds_of, moves_of, orphaned, settle
from app.core.clock import utc_now
from app.core.money import Nano
from tests.budgets.conftest import make_entry, make_reservation


def test_an_open_reservation_is_settled_by_its_entry() -> None:
    entry = make_entry(cost_nano=2_000)
    written, moves = settle([entry], {entry.id: Hold(9_000, (3, 7))}, {})
    assert written == [entry._replace(budget_window_ids=(3, 7))]
    assert moves == {3: (-9_000, 2_000, 0), 7: (-9_000, 2_000, 0)}


def test_a_second_try_of_a_commit_that_went_through_writes_nothing() -> None:
    entry = make_entry()
    assert settle([entry], {}, {entry.id: [("settled", entry.cost_nano, (3,))]}) == ([], {})


def test_a_settlement_after_the_sweep_corrects_what_the_sweep_charged() -> None:
    entry = make_entry(cost_nano=2_000, flags=("tier_not_priced",))
    [written], moves = settle([entry], {}, {entry.id: [("orphaned", 9_000, (3,))]})
    assert written.cost_nano == -7_000
    assert moves == {3: (0, -7_000, 0)}
    assert written.flags == ("tier_not_priced", CORRECTION)
    assert written.ending == "settled"


def test_a_correction_is_made_once() -> None:
    entry = make_entry(cost_nano=2_000)
    assert settle([entry], {}, {entry.id: [("orphaned", 9_000, ()), ("settled", -7_000, ())]}) == ([], {})


def test_an_entry_whose_reservation_is_nowhere_is_written_and_flagged() -> None:
    entry = make_entry(flags=("model_not_priced",), budget_window_ids=(3,))
    [written], moves = settle([entry], {}, {})
    assert moves == {3: (0, entry.cost_nano, 0)}
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


def test_an_orphan_says_what_its_reservation_did_and_that_nothing_else_is_known() -> None:
    reservation, now = make_reservation(user_id="user_ada", budget_window_ids=(3, 7)), utc_now()
    [entry] = orphaned([reservation], now)

    said = {name: value for name, value in asdict(reservation).items() if name != "process_id"}
    assert {name: value for name, value in entry._asdict().items() if name in said} == said
    assert {name: value for name, value in entry._asdict().items() if name not in said} == {
        "settled_at": now,
        "upstream_request_id": None,
        "answered_model": None,
        "service_tier": None,
        "status": 0,
        "ending": "orphaned",
        "outcome": "process_died",
        "input_tokens": 0,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "input_audio_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "output_audio_tokens": 0,
        "other_units": None,
        "cost_nano": reservation.ceiling_nano,
        "flags": ("orphaned",),
        "first_byte_us": None,
        "upstream_us": 0,
        "gateway_us": 0,
    }


def test_what_an_estimate_may_be_too_low_by_is_withheld() -> None:
    entry = make_entry(ending="estimated", cost_nano=2_000, ceiling_nano=9_000)
    taken = {entry.id: Hold(9_000, (3,))}

    [written], moves = settle([entry], taken, {})
    assert (written.flags, moves) == ((WITHHELD,), {3: (-9_000, 2_000, 7_000)})
    [written], moves = settle([entry], taken, {}, withholds_estimates=False)
    assert (written.flags, moves) == ((), {3: (-9_000, 2_000, 0)})


@pytest.mark.parametrize(
    "changes",
    [{"ending": "settled"}, {"cost_nano": 9_000}, {"price_id": None}, {"window_ids": ()}],
    ids=["its cost is known", "it costs its ceiling", "it has no price", "it has no budget"],
)
def test_nothing_is_withheld_of(changes: dict[str, Any]) -> None:
    window_ids = changes.pop("window_ids", (3,))
    entry = make_entry(**{"ending": "estimated", "cost_nano": 2_000, "ceiling_nano": 9_000, **changes})

    [written], moves = settle([entry], {entry.id: Hold(9_000, window_ids)}, {})

    assert written.flags == ()
    assert moves == ({3: (-9_000, entry.cost_nano, 0)} if window_ids else {})


def test_an_estimate_after_the_sweep_withholds_what_it_gives_back() -> None:
    entry = make_entry(ending="estimated", cost_nano=2_000, ceiling_nano=9_000)
    [written], moves = settle([entry], {}, {entry.id: [("orphaned", 9_000, (3,))]})
    assert (written.flags, moves) == ((CORRECTION, WITHHELD), {3: (0, -7_000, 7_000)})


def test_an_estimate_is_flagged_only_where_something_is_withheld_for_it() -> None:
    estimate = make_entry(ending="estimated", ceiling_nano=9_000)

    def flags(cost_nano: int, *, is_swept: bool) -> tuple[str, ...]:
        entry = estimate._replace(cost_nano=Nano(cost_nano))
        held = {} if is_swept else {entry.id: Hold(9_000, (3,))}
        [written], _ = settle([entry], held, {entry.id: [("orphaned", 9_000, (3,))]} if is_swept else {})
        return written.flags

    assert [flags(nano, is_swept=False) for nano in (8_999, 9_000, 9_500)] == [(WITHHELD,), (), ()]
    swept = [flags(nano, is_swept=True) for nano in (8_999, 9_000, 9_500)]
    assert swept == [(CORRECTION, WITHHELD), (CORRECTION,), (CORRECTION,)]


def test_a_call_that_cost_more_than_its_ceiling_or_than_the_sweep_charged_withholds_nothing() -> None:
    entry = make_entry(cost_nano=9_500, ceiling_nano=9_000, flags=(WITHHELD,))
    assert settle([entry], {entry.id: Hold(9_000, (3,))}, {})[1] == {3: (-9_000, 9_500, 0)}
    assert settle([entry], {}, {entry.id: [("orphaned", 9_000, (3,))]})[1] == {3: (0, 500, 0)}


def test_a_reservation_is_written_with_what_is_held_for_it_and_where() -> None:
    reservation = make_reservation(user_id="user_ada").grant(Nano(7_000), (3, 7))
    assert make_reservation().hold == Hold(9_000, ())
    assert (reservation.ceiling_nano, reservation.budget_window_ids) == (7_000, (3, 7))
    assert reservation.hold == Hold(7_000, (3, 7))
    assert reservation.payer == ("proj_default", "user_ada", "key_test", "gpt-4o-mini")


def test_flags_are_the_words_that_rows_of_the_ledger_have() -> None:
    assert (CORRECTION, WITHHELD, UNRESERVED) == ("correction", "withheld", "unreserved")


def test_reservations_of_one_window_add_up_in_it() -> None:
    made = [make_reservation(ceiling_nano=5, budget_window_ids=ids) for ids in ((1, 2), (2,), (1, 2))]
    assert holds_of(made) == {1: (10, 0, 0), 2: (15, 0, 0)}


def test_settlements_of_one_window_add_up_in_it() -> None:
    entries = [
        make_entry(cost_nano=2_000, ceiling_nano=9_000, flags=(WITHHELD,), budget_window_ids=ids)
        for ids in ((1, 2), (2,), (1, 2))
    ]
    held = {entry.id: Hold(9_000, entry.budget_window_ids) for entry in entries}
    assert moves_of(entries, held) == {1: (-18_000, 4_000, 14_000), 2: (-27_000, 6_000, 21_000)}


@given(cost=st.integers(0, 10**12), ceiling=st.integers(0, 10**12), tries=st.integers(1, 4), is_swept=st.booleans())
def test_whatever_is_tried_the_ledger_and_the_window_have_the_true_cost_once(
    cost: int, ceiling: int, tries: int, is_swept: bool
) -> None:
    entry, reserved, spent = make_entry(cost_nano=cost), ceiling, 0
    taken = {entry.id: Hold(ceiling, (1,))}
    rows: list[tuple[str, int, tuple[int, ...]]] = []
    if is_swept:
        orphan = make_reservation(id=entry.id, ceiling_nano=ceiling, budget_window_ids=(1,))
        [charged] = orphaned([orphan], utc_now())
        rows = [(charged.ending, charged.cost_nano, charged.budget_window_ids)]
        moved = moves_of([charged], taken)[1]
        reserved, spent, taken = reserved + moved[0], spent + moved[1], {}
    for _ in range(tries):
        written, moves = settle([entry], taken, {entry.id: rows} if rows else {})
        rows += [(row.ending, row.cost_nano, row.budget_window_ids) for row in written]
        moved = moves.get(1, Move())
        reserved, spent, taken = reserved + moved[0], spent + moved[1], {}
    assert sum(amount for _, amount, _ in rows) == spent == cost
    assert reserved == 0
