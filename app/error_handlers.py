"""The only place that turns errors into answers: OpenAI's envelope everywhere, never a word of what the caller sent.

Bugs are not rendered here but passed on to CallMiddleware, which logs and reports them.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import (
    Bug,
    Forbidden,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    MissingParameter,
    Operational,
    Refusal,
    Unauthenticated,
    Unavailable,
    UnknownPath,
    UnsupportedMediaType,
    WeirError,
)
from app.observability.context import SCOPE_KEY

_PARAM_CHARACTERS_MAX: Final = 200
_PATH_CHARACTERS_MAX: Final = 500
# The first part of pydantic's location says where the value came from, not which one it is.
_SOURCES: Final = frozenset({"body", "query", "path", "header", "cookie"})


def render(error: WeirError, *, status: int | None = None) -> Response:
    """Return the answer for *error*: its envelope as JSON, its headers, and its status unless another is given."""
    return Response(orjson.dumps(error.envelope()), status or error.status, error.headers, "application/json")


async def refuse(error: WeirError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer *error* from inside a middleware and note it for the call's log line."""
    _note(error, scope)
    await render(error)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make every error that leaves a route of *app* an answer."""
    app.exception_handler(WeirError)(_answer_weir_error)
    app.exception_handler(HTTPException)(_answer_http_exception)
    app.exception_handler(RequestValidationError)(_answer_validation_error)


async def _answer_weir_error(request: Request, error: WeirError) -> Response:
    if not isinstance(error, (Refusal, Operational)):
        raise error
    _note(error, request.scope)
    return render(error)


async def _answer_http_exception(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, WeirError):  # raised while FastAPI read the body for us
        return await _answer_weir_error(request, error.__cause__)
    if error.status_code < 400:  # such as 304 for a static file
        return Response(status_code=error.status_code, headers=error.headers)
    known = _from_http_exception(error, request)
    _note(known, request.scope)
    return render(known, status=error.status_code)


async def _answer_validation_error(request: Request, error: RequestValidationError) -> Response:
    refusal = _from_problem(error.errors()[0])
    _note(refusal, request.scope)
    return render(refusal)


def _note(error: WeirError, scope: Scope) -> None:
    if (context := scope.get(SCOPE_KEY)) is not None:
        context.fail(error)


def _from_http_exception(error: HTTPException, request: Request) -> WeirError:
    headers = dict(error.headers or {})
    match error.status_code:
        case 401:
            return Unauthenticated()
        case 403:
            return Forbidden(error.detail, headers=headers)
        case 404:
            return UnknownPath(request.method, request.scope["path"][:_PATH_CHARACTERS_MAX])
        case 405:
            allowed = sorted(name.strip() for name in headers.get("Allow", "").split(",") if name.strip())
            message = f"Not allowed to {request.method} on {request.scope['path'][:_PATH_CHARACTERS_MAX]}"
            return MethodNotAllowed(message, headers={"allow": ", ".join(allowed)})
        case 415:
            return UnsupportedMediaType(error.detail, headers=headers)
        case 500:
            return Bug()
        case status if status > 500:
            return Unavailable(error.detail)
    return InvalidRequest(error.detail, headers=headers)


def _from_problem(problem: Mapping[str, Any]) -> Refusal:
    """Return pydantic's first complaint as a refusal: the field's name and the rule, never the value."""
    param = _param(problem["loc"])
    if problem["type"] == "json_invalid":
        return InvalidJson("We could not parse the JSON body of your request. (Not valid JSON.)")
    if problem["type"] == "missing":
        return MissingParameter(param)
    return InvalidRequest(f"Invalid value for '{param}': {_rule(problem)}.", param=param)


def _param(location: tuple[int | str, ...]) -> str:
    """Return the field's name as OpenAI writes it, such as `messages[0].content`."""
    parts = location[1:] if len(location) > 1 and location[0] in _SOURCES else location
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return name.removeprefix(".")[:_PARAM_CHARACTERS_MAX]


def _rule(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    # Some of pydantic's rules quote what was sent, and so may a validator of our own.
    given = problem.get("input")
    if problem["type"] in {"value_error", "assertion_error"}:
        quotes = isinstance(given, str) and given in message
    else:
        quotes = problem["type"] in {"union_tag_invalid", "uuid_parsing"}
    return "it is not one of the values that are allowed" if quotes else message[:1].lower() + message[1:]
