"""In which order upstreams are tried: priorities, weights, load, and what stands still."""

import random
from collections import Counter

import pytest

from app.upstreams.balance import order
from app.upstreams.routing import Plan, Target
from app.upstreams.target_health import Kind, Standing
from tests.upstreams.knowing import make_plan, make_target

READY = Standing("ready", 0.0, 0)


def names(plan: Plan, standings: dict[str, Standing], seed: int = 1) -> list[str]:
    found = order(plan, lambda target: standings.get(target.upstream.name, READY), random.Random(seed).random)
    return [target.upstream.name for target in found.targets]


def shares(plan: Plan, standings: dict[str, Standing] | None = None, calls: int = 4_000) -> dict[str, float]:
    """Return what part of the calls goes to each upstream first."""
    luck = random.Random(7).random
    known = standings or {}
    firsts = Counter(
        order(plan, lambda target: known.get(target.upstream.name, READY), luck).targets[0].upstream.name
        for _ in range(calls)
    )
    return {name: count / calls for name, count in firsts.items()}


def test_a_lower_priority_number_goes_first_whatever_the_load() -> None:
    plan = make_plan(make_target("c", priority=2), make_target("a"), make_target("b", priority=1))

    assert names(plan, {"a": Standing("ready", 0.0, 1_000)}) == ["a", "b", "c"]


def test_idle_upstreams_share_calls_by_weight() -> None:
    found = shares(make_plan(make_target("a", weight=70), make_target("b", weight=20), make_target("c", weight=10)))

    assert found == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, abs=0.03)


def test_what_does_not_keep_pace_gets_no_more() -> None:
    plan = make_plan(make_target("a"), make_target("b"), make_target("c"))
    busy = {"a": Standing("ready", 0.0, 50), "b": Standing("ready", 0.0, 2), "c": Standing("ready", 0.0, 2)}

    assert set(shares(plan, busy)) == {"b", "c"}


def test_load_is_compared_by_weight() -> None:
    plan = make_plan(make_target("big", weight=90), make_target("small", weight=10))
    even = {"big": Standing("ready", 0.0, 90), "small": Standing("ready", 0.0, 10)}
    uneven = {"big": Standing("ready", 0.0, 90), "small": Standing("ready", 0.0, 30)}

    assert shares(plan, even) == pytest.approx({"big": 0.9, "small": 0.1}, abs=0.03)
    assert shares(plan, uneven) == {"big": 1.0}


def test_without_weight_an_upstream_is_there_for_when_the_others_cannot() -> None:
    plan = make_plan(make_target("none", weight=0), make_target("some", weight=1), make_target("zero", weight=0))

    for seed in range(20):
        first, *rest = names(plan, {}, seed)
        assert first == "some"
        assert sorted(rest) == ["none", "zero"]
    assert names(plan, {"some": Standing("open", 9.0, 0)})[0] in ("none", "zero")


def test_what_is_stalled_comes_after_every_priority_of_its_model_and_before_another_model() -> None:
    plan = make_plan(
        make_target("a"),
        make_target("b", priority=5),
        make_target("a2", "fallback"),
        make_target("b2", "fallback", priority=1),
    )

    assert names(plan, {"a": Standing("stalled", 0.0, 9)}) == ["b", "a", "a2", "b2"]
    assert names(plan, {"a2": Standing("stalled", 0.0, 9)}) == ["a", "b", "b2", "a2"]


@pytest.mark.parametrize("kind", ["open", "cooling_down", "full"])
def test_what_is_blocked_is_not_tried_even_if_nothing_else_is_there(kind: Kind) -> None:
    plan = make_plan(make_target("late"), make_target("soon", priority=9))
    blocked = {"late": Standing(kind, 30.0, 0), "soon": Standing(kind, 20.0, 0)}

    found = order(plan, lambda target: blocked[target.upstream.name], random.Random(1).random)

    assert found.targets == ()
    assert [candidate.target.upstream.name for candidate in found.blocked] == ["soon", "late"]
    assert found.wait_seconds(18.0) == 2.0
    assert found.wait_seconds(25.0) == 0.0


def test_nothing_to_wait_for_is_no_wait() -> None:
    found = order(make_plan(make_target()), lambda _: READY, random.Random(1).random)

    assert found.wait_seconds(1.0) == 0.0


def test_every_target_is_tried_once_or_blocked() -> None:
    luck = random.Random(3)
    kinds: tuple[Kind, ...] = ("ready", "stalled", "full", "cooling_down", "open")
    for _ in range(300):
        targets = [
            make_target(f"u{index}", luck.choice("xy"), weight=luck.randrange(4), priority=luck.randrange(3))
            for index in range(luck.randrange(1, 7))
        ]
        plan = make_plan(*sorted(targets, key=lambda target: target.model))
        standings = {
            each.upstream.name: Standing(luck.choice(kinds), luck.random(), luck.randrange(5)) for each in targets
        }

        def standing(target: Target, known: dict[str, Standing] = standings) -> Standing:
            return known[target.upstream.name]

        found = order(plan, standing, luck.random)

        tried = [*found.targets, *(candidate.target for candidate in found.blocked)]
        assert sorted(each.upstream.name for each in tried) == sorted(each.upstream.name for each in targets)
        assert all(standing(target).kind in ("ready", "stalled") for target in found.targets)
