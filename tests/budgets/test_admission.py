"""All budgets of a call admit it, or none holds anything: examples, and random histories against a plain model."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from app.budgets.admission import Demand, Grant, Shortfall, Window, reserve, too_full
from app.budgets.budget import LIMIT_NANO_MAX, Budget, BudgetBook, Payer
from app.budgets.periods import Span
from app.core.money import Nano

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def budget(**changes: Any) -> Budget:
    columns: dict[str, Any] = {
        "id": "bud_1",
        "name": "A team's",
        "scope": "organization",
        "scope_id": None,
        "model": None,
        "period": "total",
        "time_zone": "UTC",
        "limit_nano": Nano(100),
        "mode": "enforcing",
        "is_paused": False,
        "created_at": NOW,
    }
    return Budget(**{**columns, **changes})


def window(spent: int = 0, reserved: int = 0, extra: int = 0, number: int = 1, **changes: Any) -> Window:
    return Window(number, budget(id=f"bud_{number}", **changes), Span(NOW, None), extra, spent, reserved)


def fixed(nano: int) -> Demand:
    return Demand(Nano(nano), Nano(nano), Nano(nano))


def test_a_window_is_too_full_that_has_less_room_than_the_usual_cap() -> None:
    windows = [window(spent=91, number=1), window(spent=50, reserved=40, number=2), window(spent=99, number=3)]
    windows[2].budget = budget(mode="observing")

    assert too_full(Demand(Nano(200), Nano(10), Nano(1)), windows) == [1]


def test_a_call_under_no_budget_holds_its_whole_ceiling() -> None:
    assert reserve(Demand(Nano(90), Nano(50), Nano(10)), []) == Grant(Nano(90), (), must_be_capped=False)


def test_what_fits_exactly_is_admitted_and_one_nano_more_is_not() -> None:
    assert isinstance(reserve(fixed(30), [window(spent=50, reserved=20)]), Grant)
    assert isinstance(reserve(fixed(31), [window(spent=50, reserved=20)]), Shortfall)


def test_a_call_without_a_maximum_is_held_at_the_usual_cap_under_a_budget() -> None:
    assert reserve(Demand(Nano(90), Nano(50), Nano(10)), [window()]) == Grant(Nano(50), (1,), must_be_capped=True)


def test_where_the_usual_cap_does_not_fit_everything_that_is_left_is_held() -> None:
    tight = window(spent=80)
    assert reserve(Demand(Nano(90), Nano(50), Nano(10)), [tight]) == Grant(Nano(20), (1,), must_be_capped=True)
    assert tight.headroom_nano == 0


def test_a_refused_call_holds_nothing_anywhere() -> None:
    roomy, tight = window(number=1), window(number=2, spent=95)
    answer = reserve(fixed(10), [roomy, tight])
    assert isinstance(answer, Shortfall)
    assert (answer.budget.id, answer.is_spent) == ("bud_2", True)
    assert (roomy.reserved_nano, tight.reserved_nano) == (0, 0)


def test_a_budget_that_is_only_held_is_told_from_one_that_is_spent() -> None:
    held = reserve(fixed(10), [window(spent=50, reserved=45)])
    assert isinstance(held, Shortfall)
    assert not held.is_spent
    spent = reserve(fixed(10), [window(spent=95)])
    assert isinstance(spent, Shortfall)
    assert spent.is_spent


def test_a_spent_budget_is_named_before_one_that_is_held() -> None:
    answer = reserve(fixed(10), [window(number=1, reserved=100), window(number=2, spent=91)])
    assert isinstance(answer, Shortfall)
    assert (answer.budget.id, answer.limit_nano, answer.spent_nano, answer.is_spent) == ("bud_2", 100, 91, True)


def test_the_least_room_decides_also_where_another_budget_has_more_spent() -> None:
    answer = reserve(fixed(11), [window(spent=80), window(number=2, reserved=90)])
    assert isinstance(answer, Shortfall)
    assert (answer.budget.id, answer.is_spent) == ("bud_2", False)
    assert isinstance(reserve(fixed(10), [window(spent=80), window(number=2, reserved=90)]), Grant)


def test_what_would_fit_exactly_once_every_hold_came_back_is_held_and_not_spent() -> None:
    answer = reserve(fixed(10), [window(spent=90, reserved=5)])
    assert isinstance(answer, Shortfall)
    assert not answer.is_spent


def test_of_several_spent_budgets_the_one_with_the_least_unspent_is_named_whatever_they_hold() -> None:
    nearly, emptiest = window(number=1, spent=91, reserved=9), window(number=2, spent=93)
    for windows in ([nearly, emptiest], [emptiest, nearly]):
        answer = reserve(fixed(10), windows)
        assert isinstance(answer, Shortfall)
        assert answer.budget.id == "bud_2"


def test_a_refusal_shows_the_window_as_it_stands() -> None:
    tight = Window(1, budget(), Span(NOW, None), 7, 50, 20, withheld_nano=30)
    assert reserve(fixed(8), [tight]) == Shortfall(tight.budget, tight.span, 107, 50, 20, 30, Nano(8), is_spent=False)


def test_what_is_withheld_is_as_good_as_spent() -> None:
    answer = reserve(fixed(11), [Window(1, budget(), Span(NOW, None), 0, 50, 0, withheld_nano=40)])
    assert isinstance(answer, Shortfall)
    assert (answer.is_spent, answer.withheld_nano) == (True, 40)
    assert isinstance(reserve(fixed(10), [Window(1, budget(), Span(NOW, None), 0, 50, 0, withheld_nano=40)]), Grant)


def test_a_top_up_counts() -> None:
    assert isinstance(reserve(fixed(10), [window(spent=95, extra=5)]), Grant)


def test_observing_and_paused_budgets_count_but_do_not_refuse() -> None:
    windows = [window(spent=100, mode="observing"), window(number=2, spent=100, is_paused=True)]
    assert reserve(fixed(10), windows) == Grant(Nano(10), (1, 2), must_be_capped=False)
    assert [each.reserved_nano for each in windows] == [10, 10]


def test_what_costs_nothing_is_admitted_also_where_more_is_spent_than_may_be() -> None:
    windows = [window(spent=101), window(number=2)]
    assert reserve(fixed(0), windows) == Grant(Nano(0), (1, 2), must_be_capped=True)
    assert isinstance(reserve(fixed(1), windows), Shortfall)


def test_an_absurd_ceiling_does_not_overflow_a_column() -> None:
    answer = reserve(fixed(2**63 - 1), [window(mode="observing")])
    assert isinstance(answer, Grant)
    assert answer.ceiling_nano == LIMIT_NANO_MAX


def test_a_budget_applies_by_scope_and_by_model() -> None:
    book = BudgetBook(1)
    budgets = [
        budget(id="all"),
        budget(id="project", scope="project", scope_id="proj_1"),
        budget(id="user", scope="user", scope_id="user_1"),
        budget(id="key", scope="api_key", scope_id="key_1", model="gpt-4o*"),
    ]
    book.learn([*((each.scope, each.scope_id) for each in budgets), ("user", "user_2")], budgets)

    def found(user_id: str | None, model: str) -> list[str]:
        return [each.id for each in book.find(Payer("proj_1", user_id, "key_1", model))]

    assert found("user_1", "gpt-4o-mini") == ["all", "project", "key", "user"]
    assert found(None, "gpt-4o-mini") == ["all", "project", "key"]
    assert found("user_2", "o3") == ["all", "project"]
    assert book.version == 1
    payer = Payer("proj_1", "user_1", "key_1", "gpt-4o")
    first, another = book.find(payer), book.find(payer._replace(model="o3"))
    assert book.find(payer) is first  # remembered, also once another was
    assert book.find(payer._replace(model="o3")) is another


def test_a_book_says_of_whom_it_has_to_learn_and_nothing_twice() -> None:
    book = BudgetBook(1)
    ada = Payer("proj_1", "user_ada", "key_1", "gpt-4o")
    program = Payer("proj_1", None, "key_2", "gpt-4o")
    shared = {("organization", None), ("project", "proj_1")}
    assert book.unknown([ada, program]) == shared | {("user", "user_ada"), ("api_key", "key_1"), ("api_key", "key_2")}

    book.learn(book.unknown([ada]), [budget()])
    assert book.unknown([ada, program]) == {("api_key", "key_2")}
    book.find(ada)
    assert book.unknown([ada]) == set()

    book.learn(book.unknown([program]), [])
    assert [each.id for each in book.find(program)] == ["bud_1"]


def test_what_is_remembered_of_callers_is_bounded() -> None:
    book = BudgetBook(1)
    book.learn(book.unknown([Payer("proj_1", None, "key_1", "any")]), [budget()])
    for number in range(10_001):
        book.find(Payer("proj_1", None, "key_1", f"model-{number}"))
    assert len(book._found) < 10_000
    assert not book.is_full
    book.learn([("api_key", str(number)) for number in range(100_000)], [])
    assert book.is_full


@given(
    limits=st.lists(st.tuples(st.integers(-50, 200), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=4),
    amounts=st.lists(st.integers(0, 300), min_size=3, max_size=3),
)
def test_nothing_is_admitted_beyond_a_limit_and_nothing_refused_that_fits(
    limits: list[tuple[int, int, int]], amounts: list[int]
) -> None:
    windows = [
        window(number=number, limit_nano=Nano(left + spent + reserved), spent=spent, reserved=reserved)
        for number, (left, spent, reserved) in enumerate(limits)
    ]
    least, capped, ceiling = sorted(amounts)
    headroom = min(each.headroom_nano for each in windows)
    answer = reserve(Demand(Nano(ceiling), Nano(capped), Nano(least)), windows)
    assert isinstance(answer, Grant) == (least <= max(0, headroom))
    if isinstance(answer, Grant):
        assert least <= answer.ceiling_nano <= capped
        assert all(each.headroom_nano >= min(0, headroom) for each in windows)


class History(RuleBasedStateMachine):
    """Calls on three budgets that overlap, reserved and settled in any order, beside a plain list of what happened."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.windows = [window(number=number, limit_nano=Nano(1_000 * number)) for number in (1, 2, 3)]
        self.open: list[Grant] = []
        self.settled: list[tuple[int, tuple[int, ...]]] = []

    @rule(target=calls, least=st.integers(0, 400), more=st.integers(0, 400), which=st.sets(st.integers(0, 2)))
    def reserve(self, least: int, more: int, which: set[int]) -> Grant | None:
        demand = Demand(Nano(least + more), Nano(least + more), Nano(least))
        answer = reserve(demand, [self.windows[index] for index in sorted(which)])
        if isinstance(answer, Shortfall):
            return None
        self.open.append(answer)
        return answer

    @rule(grant=consumes(calls), share=st.integers(0, 100))
    def settle(self, grant: Grant | None, share: int) -> None:
        if grant is None:
            return
        cost = grant.ceiling_nano * share // 100
        self.open.remove(grant)
        self.settled.append((cost, grant.window_ids))
        for each in self.windows:
            if each.id in grant.window_ids:
                each.reserved_nano -= grant.ceiling_nano
                each.spent_nano += cost

    @rule(index=st.integers(0, 2), amount=st.integers(0, 500))
    def top_up(self, index: int, amount: int) -> None:
        self.windows[index].extra_nano += amount

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        for each in self.windows:
            assert each.spent_nano + each.reserved_nano <= each.limit_nano
            assert each.reserved_nano == sum(grant.ceiling_nano for grant in self.open if each.id in grant.window_ids)
            assert each.spent_nano == sum(cost for cost, ids in self.settled if each.id in ids)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
