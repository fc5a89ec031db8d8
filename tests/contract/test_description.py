"""Whatever is asked, by whomever: no 5xx, no status and no shape that the API description does not have.

The requests are schemathesis's: valid by the description, or broken in one place, the same in every run.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.settings import Settings
from tests.architecture.test_access_walk import ENDINGS, TABLE, Cast, cast

__all__ = ["cast"]

CALLERS: Final = ("admin key", "API key", "project owner", "viewer", "nobody")
CASES: Final = 2
CASES_OF_THE_ADMIN: Final = 6
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS: Final = [(path.replace(":path}", "}"), method) for _, path, method in TABLE if path not in ENDINGS]


@pytest.fixture(scope="module")
def description() -> BaseSchema:
    return schemathesis.openapi.from_dict(create_app(Settings()).openapi())


def made_up(description: BaseSchema, path: str, method: str, number: int) -> list[Case[Any]]:
    """Return requests for an operation, some of them valid and some not."""
    found: list[Case[Any]] = []
    operation = description[path][method]
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @seed(number)
        @settings(
            max_examples=(CASES if number else CASES_OF_THE_ADMIN) // 2,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def make_up(case: Case[Any]) -> None:
            found.append(case)

        with suppress(Unsatisfiable):  # nothing can be broken in a request without parameters
            make_up()
    return found


async def send(client: httpx.AsyncClient, case: Case[Any]) -> httpx.Response:
    if "project_id" in case.path_parameters and case.meta and case.meta.generation.mode == GenerationMode.POSITIVE:
        case.path_parameters["project_id"] = "proj_mine"
    made = case.as_transport_kwargs(base_url=str(client.base_url))
    made["headers"] = {
        name: value
        for name, value in made["headers"].items()
        if name.lower() not in ("user-agent", "authorization", "cookie", "x-schemathesis-testcaseid")
    }
    made.pop("cookies")
    if isinstance(made.get("data"), bytes | str):  # what `requests` calls data
        made["content"] = made.pop("data")
    if made.get("files"):  # of which httpx can write fewer, and which it does not keep for a finding to show
        written = requests.Request(made["method"], made["url"], files=made.pop("files"), data=made.pop("data", None))
        prepared = written.prepare()
        made["content"] = prepared.body
        made["headers"]["Content-Type"] = prepared.headers["Content-Type"]
    return await client.request(**made)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: str(part).replace("/", "_"))
async def test_an_operation_answers_as_it_is_described(
    cast: Cast, description: BaseSchema, path: str, method: str
) -> None:
    breaches = []
    for number, name in enumerate(CALLERS):
        client = cast.nobody if name == "nobody" else cast.clients[name]
        for case in made_up(description, path, method, number):
            response = await send(client, case)
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as failure:
                breaches.append(f"{name}: {[str(each) for each in failure.exceptions]}\n  {case.as_curl_command()}")
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, json={}),
        httpx.Response(302),
        httpx.Response(200, text="hello"),
        httpx.Response(200, json={"object": "list", "data": [], "has_more": None}),
        httpx.Response(400, json={"detail": "no envelope"}),
    ],
    ids=["500", "302", "text", "null", "another envelope"],
)
def test_what_is_not_described_is_seen(description: BaseSchema, response: httpx.Response) -> None:
    [case, *_] = made_up(description, "/v1/organization/audit_logs", "GET", 0)
    response.request = httpx.Request("GET", "http://localhost/v1/organization/audit_logs")
    response.elapsed = timedelta()
    with pytest.raises(FailureGroup):
        case.validate_response(response, checks=CHECKS)
