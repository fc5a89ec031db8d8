"""Errors that have to do with money: budgets, prices, idempotency. They belong to the tree in `errors.py`."""

from typing import Any, ClassVar

from app.errors import Operational, Refusal


class ModelNotPriced(Refusal):
    """The caller has a budget, and what a call of this model costs is not known."""

    code = "model_not_priced"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model '{model}' has no price, so a budget cannot bound what a call costs. An operator can set one.",
            param="model",
        )


class BudgetSpent(Refusal):
    """A budget is spent, or too little of it is left for this call; `budget` says which and how much."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    _headers: ClassVar[dict[str, str]] = {"x-should-retry": "false"}

    def __init__(self, message: str, budget: dict[str, Any], *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message, headers={**self._headers, **(headers or {})})
        self.budget = budget

    def envelope(self) -> dict[str, dict[str, Any]]:
        """Return the JSON body that a client gets, with the budget as one more member of the error."""
        return {"error": {**super().envelope()["error"], "budget": self.budget}}


class BudgetReserved(BudgetSpent):
    """What is left of a budget is held by calls under way: some of it will come back soon."""

    type = "rate_limit_error"
    code = "budget_reserved"
    _headers: ClassVar[dict[str, str]] = {"x-should-retry": "true"}


class TimeZoneUnknown(Operational):
    """The machine that Weir runs on does not know a budget's time zone, so it cannot tell which window it is."""

    code = "time_zone_unknown"

    def __init__(self, budget: str, time_zone: str) -> None:
        super().__init__(
            f"The budget '{budget}' is in the time zone '{time_zone}', which the machine that Weir runs on does not "
            "know. An operator can update its time zones."
        )


class IdempotencyKeyInUse(Refusal):
    """The call that was made with this key is still under way; asking again soon brings its answer."""

    status = 409
    code = "idempotency_key_in_use"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key is still under way. Ask again in a moment for its answer.",
            param="Idempotency-Key",
            headers={"retry-after-ms": "1000", "retry-after": "1"},
        )


class IdempotencyKeyReused(Refusal):
    """The idempotency key was used for another request."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for a request with another body. Use a new key for a new request.",
            param="Idempotency-Key",
        )
