"""Every operation of the management API, asked in every way that its description offers."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from tests.architecture.test_management import Operation

# `sizes` are not known to the ledger, and refused.
_NO_FILTERS: Final = {"after", "before", "limit", "order", "sort", "page", "bucket_width", "sizes"}
_NOBODY: Final = "nothing_has_this_id"


class Walk:
    """The ways to ask one operation; *things* are ids of what is there, by the names that paths have for them."""

    def __init__(self, operation: Operation, things: Mapping[str, str], now: datetime) -> None:
        self._operation = operation
        self._things = things
        self._now = now

    def ways(self) -> Iterator[dict[str, Any]]:
        """Yield parameters: each order with nothing else, then with each filter, then with each two filters."""
        schemas = {name: each["schema"] for name, each in self._operation.query.items()}
        filters = {name: self._values(name, schema) for name, schema in schemas.items() if name not in _NO_FILTERS}
        orders = [
            dict(zip(("order", "sort", "bucket_width"), chosen, strict=True))
            for chosen in itertools.product(
                *(_choices(schemas.get(name)) or [None] for name in ("order", "sort", "bucket_width"))
            )
        ]
        required = {name: values[0] for name, values in filters.items() if self._operation.query[name]["required"]}
        alone: list[dict[str, Any]] = [{}, *({name: value} for name, values in filters.items() for value in values)]
        pairs = [
            {one: filters[one][-1], other: filters[other][-1]} for one, other in itertools.combinations(filters, 2)
        ]
        if "/usage/" in self._operation.path and not self._operation.path.endswith("/completions"):
            orders, pairs = orders[:1], []  # these differ in what they sum up only
        for order, way in [*itertools.product(orders, alone), *((orders[0], pair) for pair in pairs)]:
            yield {name: value for name, value in {**required, **order, **way}.items() if value is not None}

    def _values(self, name: str, schema: dict[str, Any]) -> list[Any]:
        values = self._known().get(name.removesuffix("[]"), _choices(schema))
        assert values, f"{self._operation.path} has a new parameter: say what to try for '{name}'"
        return values

    def _known(self) -> dict[str, list[Any]]:
        """Return values to try: what much has, what little has, and, in the end, what nothing has."""
        things, long_ago, lately = self._things, self._now - timedelta(days=60), self._now - timedelta(hours=20)
        projects = ["proj_1", things["project_id"], _NOBODY]
        people = ["user_10", things["user_id"], _NOBODY]
        keys = ["key_10", things["key_id"], _NOBODY]
        moments = [int(lately.timestamp()), int(long_ago.timestamp())]
        return {
            "project_id": projects,
            "project_ids": projects,
            "user_id": people,
            "user_ids": people,
            "owner_id": [*people[:2], "svc_10", _NOBODY],
            "key_id": keys,
            "api_key_ids": keys,
            "scope_id": [*keys, "proj_1"],
            "model": ["gpt-4o", "gpt-4o-2024-08-06", "sim-small", _NOBODY],
            "models": ["gpt-4o-2024-08-06", "sim-small", _NOBODY],
            "line_items": ["gpt-4o-2024-08-06", "sim-small", _NOBODY],
            "created_after": moments,
            "created_before": moments,
            "start_time": moments[:1],
            "end_time": [int(self._now.timestamp())],
            "start_date": [f"{lately:%Y-%m-%d}"],
            "end_date": [f"{self._now + timedelta(days=1):%Y-%m-%d}"],
            "at": [f"{self._now:%Y-%m-%dT%H:%M:%SZ}"],
            "min_cost_usd": ["0.000001", "5"],
            "source": ["operator"],
            "effective_at[gt]": moments,
            "effective_at[gte]": moments,
            "effective_at[lt]": moments,
            "effective_at[lte]": moments,
            "event_types": ["login.succeeded", "project.created", "certificate.created"],
            "actor_ids": [*people, things["key_id"]],
            "actor_emails": ["u10@example.org", "ada@example.com", _NOBODY],
            "resource_ids": [*people, things["key_id"]],
            "tenant_only": ["false"],
            "emails": ["u10@example.org", "u11@example.org"],
        }


async def follow(client: httpx.AsyncClient, path: str, way: dict[str, Any]) -> list[httpx.Response]:
    """Ask for a page and, if nothing but an order is wanted, for the next."""
    answers = [await client.get(path, params=way)]
    is_json = answers[0].headers.get("content-type", "").startswith("application/json")
    if way.keys() <= _NO_FILTERS | {"start_time"} and is_json and answers[0].is_success:
        page = answers[0].json()
        cursor = page.get("last_id") or page.get("next") or page.get("next_page")
        if page.get("has_more") and cursor:
            name = "page" if "next_page" in page else "after"
            answers.append(await client.get(path, params={**way, name: cursor}))
    return answers


def _choices(schema: dict[str, Any] | None) -> list[Any]:
    """Return every value that a description allows, if it lists them."""
    if schema is None:
        return []
    for each in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if "enum" in each or "const" in each:
            return [*each.get("enum", ()), *([each["const"]] if "const" in each else ())]
        if each.get("type") == "boolean":
            return ["true", "false"]
    return []
