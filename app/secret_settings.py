"""The settings of secrets that Weir keeps for others: a group as those in `setting_groups.py`."""

from pydantic import Field

from app.setting_groups import Group
from app.setting_values import StrongSecret


class Secrets(Group):
    """The key that credentials of upstreams are encrypted with in the database, and cached answers in Redis."""

    key: StrongSecret | None = Field(
        None,
        description="Secret of 32 characters or more that it is made from, the same for every replica; unset, it is "
        "made from the pepper of keys. `weir secrets rotate` encrypts anew under it.",
    )
    previous_keys: tuple[StrongSecret, ...] = Field(
        (), max_length=10, description="Secrets that credentials may still be encrypted with, while `KEY` is replaced."
    )
