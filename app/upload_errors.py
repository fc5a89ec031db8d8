"""The refusal of a body that does not arrive. It belongs to the tree in `errors.py`."""

from app.errors import Refusal


class BodyTimeout(Refusal):
    """The body stopped arriving; the connection is closed, as the rest of it may still come."""

    status = 408
    code = "request_timeout"

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(
            f"Nothing more of the request body has arrived for {timeout_seconds:g} seconds.",
            headers={"connection": "close"},
        )
