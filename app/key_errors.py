"""Refusals that have to do with keys. They belong to the tree in `errors.py`."""

from app.errors import Refusal


class AddressNotAllowed(Refusal):
    """The key works, but not from the address that it was used from."""

    status = 401
    code = "ip_not_authorized"

    def __init__(self, address: str | None) -> None:
        super().__init__(
            f"This key may not be used from the address {address or 'that you call from'}: it is kept to certain "
            "networks.",
            headers={"x-should-retry": "false"},
        )


class TooManyUnknownKeys(Refusal):
    """So many keys from this address were unknown that no more are looked up for a while; known ones go on working."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_unknown_keys"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many unknown keys were sent from your address; this one is not looked up now. "
            f"Wait {retry_after_seconds} seconds, then check the key.",
            headers={
                "retry-after": str(retry_after_seconds),
                "retry-after-ms": str(retry_after_seconds * 1_000),
                "x-should-retry": "false",
            },
        )
