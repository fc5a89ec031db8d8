from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from app.simulator.schema_example import example_of

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "parent"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "minLength": 5},
        {"type": "string", "format": "date-time"},
        {"type": "integer"},
        {"type": "integer", "minimum": 10},
        {"type": "integer", "maximum": -3},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5},
        {"type": "integer", "exclusiveMaximum": 10, "multipleOf": 5, "minimum": 0},
        {"type": "number", "exclusiveMaximum": 1},
        {"type": "number", "multipleOf": 0.5},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"type": ["null", "integer"]},
        {"const": {"a": 1}},
        {"enum": ["b", "c"]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "array", "maxItems": 0},
        {
            "type": "object",
            "properties": {"a": {"type": "object", "properties": {"b": {"const": 1}}}},
            "required": ["a"],
        },
        {"properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]
        },
        {"definitions": {"a/b": {"type": "integer"}}, "$ref": "#/definitions/a~1b"},
        TREE,
    ],
)
def test_the_example_satisfies_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(example_of(schema))


def test_an_example_prefers_a_value_to_null() -> None:
    assert example_of({"type": ["null", "integer"]}) == 1
    assert example_of({"anyOf": [{"type": "null"}, {"type": "string"}]}) == "…"


@pytest.mark.parametrize(
    "schema",
    [None, "x", [], {}, {"$ref": "#"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.com/"}, {"enum": []}],
)
def test_what_is_no_schema_has_no_example(schema: Any) -> None:
    assert example_of(schema) is None
