"""What an API key may be used for: scopes, named as OpenAI names them. Pure.

A key without any may be used for everything that its owner may do. `app/routes.py` says which route needs which.
"""

from typing import Final, Literal, get_args

Scope = Literal["api.all", "api.all.read", "api.model.read", "api.model.request", "api.usage.read"]
"""What can be granted:

- api.all: everything;
- api.all.read: everything that only reads;
- api.model.read: list the models;
- api.model.request: make calls of models, which cost money;
- api.usage.read: read receipts and one's own budgets and limits.
"""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_SHORT: Final[dict[str, Scope]] = {"model.read": "api.model.read", "model.request": "api.model.request"}


def read_scope(name: str) -> Scope:
    """Return the scope called *name*, also by the short name that OpenAI's errors use; raises ValueError."""
    scope = _SHORT.get(name, name)
    if scope not in SCOPES:
        raise ValueError(f"it must be one of {', '.join(SCOPES)}")
    return scope


def is_granted(scopes: frozenset[str], needed: Scope) -> bool:
    """Tell whether a key with *scopes* may do what needs *needed*."""
    if not scopes or needed in scopes or "api.all" in scopes:
        return True
    return needed.endswith(".read") and "api.all.read" in scopes
