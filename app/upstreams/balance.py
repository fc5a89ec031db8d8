"""In which order the upstreams of a plan are tried now. Pure.

Upstreams of the lowest priority number first, within it by weight and by how much is under way; then, of the same
model, those that are stalled; then the same for each model to fall back to. What is open, cools down, or is full is
not tried at all: if nothing else is there, the caller is told when to come back.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from app.upstreams.routing import Plan, Target
from app.upstreams.target_health import Kind, Standing

Random = Callable[[], float]
"""Answers numbers from 0 up to 1."""
_TRIED: Final[tuple[Kind, ...]] = ("ready", "stalled")


class Candidate(NamedTuple):
    """A target, and whether it may be tried now."""

    target: Target
    standing: Standing

    @property
    def weight(self) -> int:
        """Its share among those that are tried together."""
        return self.target.upstream.weight or 1


class Order(NamedTuple):
    """What to try, first to last, and what not, those first that can be tried soonest."""

    targets: tuple[Target, ...]
    blocked: tuple[Candidate, ...]

    def wait_seconds(self, now: float) -> float:
        """Return how long it takes until the first of those that are blocked can be tried; 0 if none is."""
        return max(0.0, self.blocked[0].standing.until - now) if self.blocked else 0.0


def order(plan: Plan, standing: Callable[[Target], Standing], random: Random) -> Order:
    """Return in which order the targets of *plan* are tried, by the *standing* of each and some luck."""
    candidates = [Candidate(target, standing(target)) for target in plan.targets]
    if len(candidates) == 1 and candidates[0].standing.kind in _TRIED:
        return Order(plan.targets, ())
    targets: list[Target] = []
    for _, of_model in groupby(candidates, key=lambda one: one.target.model):
        each = list(of_model)
        for kind in _TRIED:
            targets += _by_priority([one for one in each if one.standing.kind == kind], random)
    blocked = [one for one in candidates if one.standing.kind not in _TRIED]
    return Order(tuple(targets), tuple(sorted(blocked, key=lambda one: one.standing.until)))


def _by_priority(candidates: Sequence[Candidate], random: Random) -> list[Target]:
    found: list[Target] = []
    for _, group in groupby(sorted(candidates, key=_rank), key=_rank):
        left = list(group)
        while left:
            chosen = left.pop(0 if len(left) == 1 else _choose(left, random))
            found.append(chosen.target)
    return found


def _rank(candidate: Candidate) -> tuple[int, bool]:
    """Return what goes before weights: the priority, and in it whether there is any weight."""
    return candidate.target.upstream.priority, candidate.target.upstream.weight == 0


def _choose(candidates: Sequence[Candidate], random: Random) -> int:
    """Draw two by weight; choose the first unless the second had less to do for its weight even with this call.

    So shares follow the weights while upstreams keep pace, and one that does not answer soon gets no more calls.
    """
    first = _draw(candidates, None, random)
    second = _draw(candidates, first, random)
    one, other = candidates[first], candidates[second]
    is_less_loaded = (other.standing.in_flight + 1) * one.weight < one.standing.in_flight * other.weight
    return second if is_less_loaded else first


def _draw(candidates: Sequence[Candidate], but: int | None, random: Random) -> int:
    indices = [index for index in range(len(candidates)) if index != but]
    point = random() * sum(candidates[index].weight for index in indices)
    for index in indices[:-1]:
        point -= candidates[index].weight
        if point < 0:
            return index
    return indices[-1]
