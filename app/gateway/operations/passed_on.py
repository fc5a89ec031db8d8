"""What passes through: it has no model and no usage, but a name by which limits, budgets and prices know it."""

from collections.abc import Mapping
from typing import NoReturn

from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.prices.service import Bound
from app.prices.usage import Usage

NOTHING = Usage()
_BOUND = Bound(input_tokens=0, output_tokens=0)


class PassedOn(Operation):
    """A call of one of the groups in `app/gateway/passthrough.py`, such as `files`."""

    path = ""

    def __init__(self, group: str, *, is_free: bool) -> None:
        self.name = f"passthrough.{group}"
        self.is_free = is_free
        self.request = MeteredRequest(f"passthrough:{group}", _BOUND, b"")

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:  # noqa: ARG002
        """Return the same for every call of the group."""
        return self.request

    def answered(self, whole: Whole) -> Answered:  # noqa: ARG002
        """Return that it used nothing: where it has a price, that is for the request."""
        return Answered(NOTHING)

    def measured(self, request: MeteredRequest, size_bytes: int) -> Answered:  # noqa: ARG002
        """Return the same."""
        return Answered(NOTHING)

    def estimated(self, request: MeteredRequest) -> Usage:  # noqa: ARG002
        """Return the same."""
        return NOTHING

    def stream(self, request: MeteredRequest) -> NoReturn:
        """Raise, as a stream that passes through is not read."""
        raise NotImplementedError(f"{self.name} has no streams that are metered ({request.model})")
