"""The errors that the simulator answers, worded and coded as OpenAI's: it plays the upstream, so never Weir's own.

https://platform.openai.com/docs/guides/error-codes
"""

from typing import Any, Final

import orjson


class Refusal(Exception):
    """An error answer: HTTP `status` and the four members of OpenAI's envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}
        self.content_type = "application/json"
        self.body = orjson.dumps({"error": self.error}, option=orjson.OPT_INDENT_2)


def missing_parameter(param: str) -> Refusal:
    """Return the 400 for a required parameter that is not there."""
    return Refusal(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid_type(param: str, expected: str, value: object) -> Refusal:
    """Return the 400 for a parameter of another JSON type than *expected*, which reads like "an array of objects"."""
    got = _JSON_TYPES.get(type(value), "a value of another type")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return Refusal(400, message, param=param, code="invalid_type")


def invalid_value(param: str, message: str) -> Refusal:
    """Return the 400 for a parameter whose type is right and whose value is not."""
    return Refusal(400, message, param=param, code="invalid_value")


def invalid_body() -> Refusal:
    """Return the 400 for a body that is not a JSON object."""
    return Refusal(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
        code=None,
    )


def unknown_url(method: str, path: str) -> Refusal:
    """Return the 404 for a path or a method that the simulator does not serve."""
    return Refusal(404, f"Invalid URL ({method} {path})", code=None)


def wrong_key(key: str) -> Refusal:
    """Return the 401 for *key*; like OpenAI's it repeats the ends of the key, which Weir must not pass on."""
    if not key:
        return Refusal(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
            code=None,
        )
    shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)
    message = f"Incorrect API key provided: {shown}. You can find your API key at https://platform.openai.com/account/api-keys."
    return Refusal(401, message, code="invalid_api_key")


def scripted(status: int, model: str | None, code: str | None) -> Refusal:
    """Return the error that OpenAI answers with *status*; *code* replaces the usual code."""
    kind, usual_code, message = _BY_STATUS.get(status) or (
        ("invalid_request_error" if status < 500 else "server_error"),
        None,
        f"The simulator was asked to answer {status}.",
    )
    if code == "insufficient_quota":
        kind, message = code, "You exceeded your current quota, please check your plan and billing details."
    return Refusal(status, message.replace("{model}", str(model)), kind=kind, code=code or usual_code)


def web_page(status: int) -> Refusal:
    """Return what a proxy in between answers: HTML, whatever the *status*, 200 too."""
    refusal = Refusal(status, f"The simulator was asked for a web page with status {status}.", code=None)
    refusal.content_type = "text/html; charset=utf-8"
    refusal.body = f"<!doctype html>\n<html><title>{status}</title><body><h1>{status}</h1></body></html>\n".encode()
    return refusal


_JSON_TYPES: Final[dict[type[Any], str]] = {
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_BY_STATUS: Final[dict[int, tuple[str, str | None, str]]] = {
    200: ("server_error", None, "The server had an error, and answers 200 all the same."),
    400: ("invalid_request_error", "invalid_value", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-simul********ated."),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: (
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
    529: ("overloaded_error", None, "Overloaded"),
}
