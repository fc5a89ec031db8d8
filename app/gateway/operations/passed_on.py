"""What passes through: it has no model and no usage, but a name by which limits, budgets and prices know it."""

from app.gateway.operations.operation import Charged, MeteredRequest
from app.prices.service import Bound
from app.prices.usage import NO_USAGE, Usage

_BOUND = Bound(input_tokens=0, output_tokens=0)


class PassedOn(Charged):
    """A call of one of the groups in `app/gateway/passthrough.py`, such as `files`."""

    def __init__(self, group: str, *, is_free: bool) -> None:
        self.name = f"passthrough.{group}"
        self.is_free = is_free
        self.request = MeteredRequest(f"passthrough:{group}", _BOUND, b"")

    def estimated(self, request: MeteredRequest) -> Usage:  # noqa: ARG002
        """Return that it uses nothing: where it has a price, that is for the request."""
        return NO_USAGE
