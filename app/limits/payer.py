"""Whose limits a caller's calls count in. Pure."""

from app.keys.caller import Caller
from app.limits.limit import Payer


def payer_of(caller: Caller, model: str = "") -> Payer:
    """Return *caller* as limits see it: a person who signed in has no key."""
    return Payer(
        project_id=caller.project_id,
        user_id=caller.user_id,
        service_account_id=caller.service_account_id,
        key_id=caller.key_id if caller.kind == "api" else None,
        model=model,
    )
