import uuid
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field, field_validator

from app import error_handlers
from app.errors import InvalidRequest, ModelNotFound, NoUpstream, Unauthenticated, Unavailable, WeirError

ENVELOPE = {"message", "type", "param", "code"}
GIVEN = "hush-hush-0001"


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class Order(BaseModel):
    model: str
    messages: list[Message] = []
    limit: int = Field(1, ge=1, le=100)
    owner: uuid.UUID | None = None
    colour: str | None = None

    @field_validator("colour")
    @classmethod
    def _is_known(cls, colour: str) -> str:
        raise ValueError(f"{colour} is no colour" if colour == GIVEN else "must be a colour.")


def build() -> FastAPI:
    app = FastAPI()
    error_handlers.install(app)

    @app.post("/v1/orders")
    async def order(order: Order) -> str:
        return order.model

    @app.get("/v1/orders")
    async def orders(limit: Annotated[int, Query(le=100)] = 10) -> int:
        return limit

    @app.get("/raise/{status}")
    async def refuse(status: int) -> None:
        raise HTTPException(status, "as asked", headers={"x-kept": "yes"})

    return app


async def ask(app: FastAPI, method: str, path: str, **arguments: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://weir.test") as client:
        return await client.request(method, path, **arguments)


def envelope(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == ENVELOPE
    return error


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/orders/1"])
async def test_an_unknown_path_is_a_404_envelope(path: str) -> None:
    answer = await ask(build(), "POST", path)
    assert answer.status_code == 404
    assert envelope(answer)["code"] == "unknown_url"
    assert envelope(answer)["message"] == f"Invalid URL (POST {path})"


async def test_a_wrong_method_is_a_405_envelope_that_says_what_is_allowed() -> None:
    answer = await ask(build(), "DELETE", "/raise/418")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert envelope(answer)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"messages": []}, "missing_required_parameter", "model"),
        ({"model": 7}, "invalid_value", "model"),
        ({"model": "m", "limit": GIVEN}, "invalid_value", "limit"),
        ({"model": "m", "limit": 0}, "invalid_value", "limit"),
        ({"model": "m", "owner": GIVEN}, "invalid_value", "owner"),
        ({"model": "m", "colour": GIVEN}, "invalid_value", "colour"),
        ({"model": "m", "colour": "red"}, "invalid_value", "colour"),
        ({"model": "m", "messages": [{"role": GIVEN, "content": ""}]}, "invalid_value", "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    ],
)
async def test_a_bad_field_is_a_400_that_names_it_and_never_quotes_it(
    body: dict[str, Any], code: str, param: str
) -> None:
    answer = await ask(build(), "POST", "/v1/orders", json=body)
    assert answer.status_code == 400
    assert (envelope(answer)["code"], envelope(answer)["param"]) == (code, param)
    assert envelope(answer)["type"] == "invalid_request_error"
    assert GIVEN not in answer.text
    assert param in envelope(answer)["message"]


async def test_a_rule_is_told_in_words() -> None:
    limit = envelope(await ask(build(), "POST", "/v1/orders", json={"model": "m", "limit": 0}))
    assert limit["message"] == "Invalid value for 'limit': input should be greater than or equal to 1."
    colour = envelope(await ask(build(), "POST", "/v1/orders", json={"model": "m", "colour": "red"}))
    assert colour["message"] == "Invalid value for 'colour': must be a colour."


async def test_a_bad_query_parameter_is_named() -> None:
    error = envelope(await ask(build(), "GET", "/v1/orders?limit=101"))
    assert error["param"] == "limit"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"model": wk-0123456789abcdef}'])
async def test_a_body_that_is_no_json_is_invalid_json(body: bytes) -> None:
    answer = await ask(build(), "POST", "/v1/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "wk-" not in answer.text
    assert envelope(answer)["code"] in {"invalid_json", "invalid_value"}


async def test_a_missing_body_is_refused() -> None:
    answer = await ask(build(), "POST", "/v1/orders")
    assert (answer.status_code, envelope(answer)["param"]) == (400, "body")


@pytest.mark.parametrize(
    ("status", "code", "kept"),
    [
        (400, "invalid_value", True),
        (401, "invalid_api_key", False),
        (403, "insufficient_permissions", True),
        (413, "invalid_value", True),
        (415, "unsupported_media_type", True),
        (416, "invalid_value", True),
        (500, "internal_error", False),
        (503, "service_unavailable", False),
    ],
)
async def test_http_exceptions_keep_their_status_in_an_envelope(status: int, code: str, kept: bool) -> None:
    answer = await ask(build(), "GET", f"/raise/{status}")
    assert answer.status_code == status
    assert envelope(answer)["code"] == code
    assert ("x-kept" in answer.headers) is kept


async def test_an_http_exception_that_is_no_error_stays_what_it_is() -> None:
    answer = await ask(build(), "GET", "/raise/304")
    assert (answer.status_code, answer.content, answer.headers["x-kept"]) == (304, b"", "yes")


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Unauthenticated(), 401, {"www-authenticate": 'Bearer realm="weir"'}),
        (ModelNotFound("gpt-0"), 404, {}),
        (Unavailable("away", retry_after_seconds=7), 503, {"retry-after": "7"}),
        (NoUpstream("none"), 503, {"x-should-retry": "false"}),
    ],
)
async def test_errors_of_our_own_are_rendered_with_their_headers(
    error: WeirError, status: int, headers: dict[str, str]
) -> None:
    app = build()

    @app.get("/error")
    async def fail() -> None:
        raise error

    answer = await ask(app, "GET", "/error")
    assert answer.status_code == status
    assert answer.json() == error.envelope()
    assert headers.items() <= dict(answer.headers).items()


async def test_what_is_neither_refusal_nor_operational_is_passed_on_as_a_bug() -> None:
    app = build()

    @app.get("/bug")
    async def fail() -> None:
        raise WeirError("nobody should read this")

    with pytest.raises(WeirError):
        await ask(app, "GET", "/bug")


def test_an_error_is_rendered_with_another_status_when_given() -> None:
    answer = error_handlers.render(InvalidRequest("no", param="x"), status=416)
    assert answer.status_code == 416
    assert (
        bytes(answer.body)
        == b'{"error":{"message":"no","type":"invalid_request_error","param":"x","code":"invalid_value"}}'
    )
