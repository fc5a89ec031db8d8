"""Values made up from a JSON schema, most of them allowed and some not; the same ones for the same seed."""

import random
from typing import Any, Final

JsonSchema = dict[str, Any]

_DEPTH_MAX: Final = 6
_WORDS: Final = (
    "a",
    "proj_mine",
    "sim-small",
    "key_1",
    "gpt-4o*",
    "a@example.org",
    "1.5",
    "UTC",
    "10.0.0.0/8",
    "2030-01-01",
)
_TEXTS: Final = ("", "\x00", "\u202e", "é" * 300, "%_'\" --", "../..")
_NUMBERS: Final = (-1, 0, 2**63, 10**30, 1.5)
_JUNK: Final[tuple[Any, ...]] = (None, True, *_NUMBERS, *_TEXTS, [], {}, [[]], {"a": {}})


class MakeUp:
    """Makes up values; *schemas* are those that others refer to by name."""

    def __init__(self, schemas: dict[str, JsonSchema], seed: str) -> None:
        self._schemas = schemas
        self._random = random.Random(seed)

    def value(self, schema: JsonSchema, depth: int = 0) -> Any:
        """Return something for *schema*; one time in ten it is nothing that the schema asks for."""
        if self.rarely():
            return self._random.choice(_JUNK)
        if "$ref" in schema:
            return self.value(self._schemas[schema["$ref"].rpartition("/")[2]], depth)
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self.value(self._random.choice(schema[word]), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        return self._of_type(schema, depth)

    def rarely(self) -> bool:
        """Return True one time in ten."""
        return self._random.random() < 0.1

    def often(self) -> bool:
        """Return True every second time."""
        return self._random.random() < 0.5

    def _of_type(self, schema: JsonSchema, depth: int) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                length = 0 if depth > _DEPTH_MAX else self._random.randint(schema.get("minItems", 0), 2)
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(length)]
            case "integer" | "number":
                low, high = schema.get("minimum", 0), schema.get("maximum", 10**6)
                return self._random.choice((low, high, self._random.randint(int(low), int(high))))
            case "boolean":
                return self.often()
            case "null":
                return None
            case "string":
                given = [*schema.get("examples", ()), *filter(None, [schema.get("example")])]
                return self._random.choice((*_WORDS, *given))
        return self._random.choice(_JUNK)

    def _object(self, schema: JsonSchema, depth: int) -> dict[str, Any]:
        example = schema.get("example")
        if isinstance(example, dict) and self.often():
            made = dict(example)
            for name in list(made):  # near to what works, which goes deeper than what does not
                if self.rarely():
                    made[name] = self._random.choice(_JUNK)
            return made
        required = set(schema.get("required", ()))
        return {
            name: self.value(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if (name in required and not self.rarely()) or (depth < _DEPTH_MAX and self.rarely())
        }
