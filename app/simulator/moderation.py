"""POST /v1/moderations: flags what speaks of killing, and nothing else.

https://platform.openai.com/docs/api-reference/moderations
"""

from typing import Any, Final

import orjson

from app.simulator.call import Ending
from app.simulator.delivery import Delivery
from app.simulator.fields import Document
from app.simulator.refusal import invalid_type, missing_parameter

MODEL_DEFAULT: Final = "omni-moderation-latest"
_CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


async def answer_moderation(delivery: Delivery, document: Document, model: str) -> Ending:
    """Answer with one result for each text, or one for several parts of another kind."""
    results = [_result(text, kinds) for text, kinds in _inputs(document.get("input"))]
    await delivery.wait_for_turn()
    body = {"id": f"modr-{delivery.exchange.call.id.removeprefix('req_')}", "model": model, "results": results}
    return await delivery.send_json(orjson.dumps(body))


def _inputs(value: Any) -> list[tuple[str, set[str]]]:
    """Return each input's text, and the kinds of its parts."""
    if value is None:
        raise missing_parameter("input")
    items = [value] if isinstance(value, str) else value
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return [(item, {"text"}) for item in items]
    if isinstance(items, list) and all(isinstance(item, dict) for item in items):
        return [(" ".join(str(item.get("text", "")) for item in items), {str(item.get("type")) for item in items})]
    raise invalid_type("input", "a string, an array of strings or an array of objects", value)


def _result(text: str, kinds: set[str]) -> dict[str, Any]:
    is_violent = "kill" in text.lower()
    applied = [kind for kind in ("text", "image") if any(part.startswith(kind) for part in kinds)]
    return {
        "flagged": is_violent,
        "categories": {name: is_violent and name == "violence" for name in _CATEGORIES},
        "category_scores": {name: 0.98 if is_violent and name == "violence" else 0.0001 for name in _CATEGORIES},
        "category_applied_input_types": dict.fromkeys(_CATEGORIES, applied),
    }
