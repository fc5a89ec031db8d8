"""Models as callers know them, from what an upstream says of its own. Pure."""

from collections.abc import Sequence
from typing import Any

from app.upstreams.routing import Upstream


def named(upstream: Upstream, models: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the objects of the models that calls are sent to *upstream* for, given what it lists."""
    known = {model["id"]: model for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)}
    served = {name: model for name, model in known.items() if upstream.serves(name)}
    aliased = {alias: alias_object(upstream, alias, known.get(name)) for alias, name in upstream.aliases.items()}
    return list({**served, **aliased}.values())


def alias_object(upstream: Upstream, alias: str, model: dict[str, Any] | None) -> dict[str, Any]:
    """Return the object of an alias: all that *upstream* says of the *model* behind it, if it does."""
    unknown = {"object": "model", "created": 0, "owned_by": upstream.name}
    return {**(unknown if model is None else model), "id": alias}
