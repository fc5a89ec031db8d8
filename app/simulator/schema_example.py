"""An example value for a JSON schema, so that structured outputs and tool arguments parse.

Covers what OpenAI's structured outputs allow (https://platform.openai.com/docs/guides/structured-outputs); a pattern is
not followed. It never goes deeper than a fixed bound, whatever the schema refers to.
"""

from typing import Any, Final

_DEPTH_MAX: Final = 12
_STRINGS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example_of(schema: object) -> Any:
    """Return a JSON value that satisfies *schema*; for what is no schema, None."""
    return _example(schema, schema, 0)


def _example(schema: object, root: object, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if isinstance(schema.get("$ref"), str):
        return _example(_resolve(schema["$ref"], root), root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return _example(_choose(schema[keyword], depth), root, depth + 1)
    if isinstance(schema.get("allOf"), list) and schema["allOf"]:
        parts = [_example(part, root, depth + 1) for part in schema["allOf"]]
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()} or parts[0]
    return _example_of_type(schema, root, depth)


def _example_of_type(schema: dict[str, Any], root: object, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = "null" if depth > _DEPTH_MAX // 2 and "null" in kind else next((k for k in kind if k != "null"), None)
    if kind == "object":
        properties = schema.get("properties")
        names = properties if isinstance(properties, dict) else {}
        return {name: _example(part, root, depth + 1) for name, part in names.items()}
    if kind == "array":
        # A list that need not have items is where a recursive schema can end.
        count = max(_whole(schema, "minItems"), 0 if depth > _DEPTH_MAX // 2 or schema.get("maxItems") == 0 else 1)
        return [_example(schema.get("items"), root, depth + 1) for _ in range(min(count, 100))]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "string":
        text = _STRINGS.get(str(schema.get("format")), "…")
        return text + "…" * (min(_whole(schema, "minLength"), 10_000) - len(text))
    return True if kind == "boolean" else None


def _number(schema: dict[str, Any]) -> int | float:
    step = _bound(schema, "multipleOf") or 1
    value: int | float = step
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    if high is not None and value > high:
        value = high // step * step
    if below is not None and value >= below:
        value = (below // step - (below % step == 0)) * step
    if low is not None and value < low:
        value = -(-low // step) * step
    if above is not None and value <= above:
        value = (above // step + 1) * step
    return int(value) if schema.get("type") == "integer" else value


def _bound(schema: dict[str, Any], keyword: str) -> int | float | None:
    value = schema.get(keyword)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(schema: dict[str, Any], keyword: str) -> int:
    value = schema.get(keyword)
    return value if isinstance(value, int) else 0


def _choose(options: list[Any], depth: int) -> Any:
    """Return the first option that is not null; deep down null, which ends a recursive schema."""
    is_null = [isinstance(option, dict) and option.get("type") == "null" for option in options]
    if depth > _DEPTH_MAX // 2 and any(is_null):
        return options[is_null.index(True)]
    return next((option for option, null in zip(options, is_null, strict=True) if not null), options[0])


def _resolve(reference: str, root: object) -> object:
    """Return the part of *root* that a local reference such as `#/$defs/Step` names (RFC 6901), or None."""
    part = root
    for name in reference.removeprefix("#").split("/")[1:]:
        part = part.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
    return part
