"""The refusal of a call that comes too early. It belongs to the tree in `errors.py`."""

from typing import Any

from app.errors import Refusal


class RateLimitExceeded(Refusal):
    """A limit is used up for now; the message names it, and says when there is enough of it again."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, kind: str, *, headers: dict[str, str]) -> None:
        """*kind* is what OpenAI puts into `type`: what there was too much of, such as `requests` or `tokens`."""
        super().__init__(message, headers=headers)
        self.kind = kind

    def envelope(self) -> dict[str, dict[str, Any]]:
        """Return the JSON body that a client gets."""
        return {"error": {**super().envelope()["error"], "type": self.kind}}
