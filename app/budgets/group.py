"""What a group of calls asks of their budgets, and what each of them is answered. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.budgets.admission import Demand, Grant, Shortfall, Window, reserve
from app.budgets.refusal import Unpriced
from app.budgets.reservation import Reservation
from app.core.money import Nano
from app.idempotency.key import KeyClaim

UNPRICED: Final = Demand(Nano(0), Nano(0), Nano(0))

Answer = Grant | Shortfall | Unpriced | None
"""None where the idempotency key is in use."""


@dataclass(slots=True)
class Asked:
    """One call of the group."""

    reservation: Reservation
    demand: Demand | None
    """None for a model without a price."""
    claim: KeyClaim | None


def admit(asked: Sequence[Asked], windows: Sequence[Sequence[Window]]) -> tuple[list[Answer], list[Reservation]]:
    """Return the answer to each in turn, and the reservations of those that are granted; moves *windows*."""
    answers: list[Answer] = [
        answer_to(each.reservation.model, each.demand, own) for each, own in zip(asked, windows, strict=True)
    ]
    return answers, granted_of(asked, answers)


def granted_of(asked: Sequence[Asked], answers: Sequence[Answer]) -> list[Reservation]:
    """Return the reservations of those whose answer is a grant."""
    return [
        each.reservation.grant(answer.ceiling_nano, answer.window_ids)
        for each, answer in zip(asked, answers, strict=True)
        if isinstance(answer, Grant)
    ]


def answer_to(model: str, demand: Demand | None, windows: Sequence[Window]) -> Grant | Shortfall | Unpriced:
    """Return the answer to one call that counts in *windows*, and move them if it is granted."""
    if demand is not None:
        return reserve(demand, windows)
    if any(window.budget.refuses for window in windows):
        return Unpriced(model)
    return reserve(UNPRICED, windows)
