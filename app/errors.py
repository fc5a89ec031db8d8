"""Every error a client can get, and what it looks like on the wire.

    WeirError
    ├── Refusal             the caller can fix it; logged as info
    │   ├── InvalidRequest          400  (and MissingParameter, InvalidType, InvalidJson, ModelNotPriced,
    │   │                                 IntegerTooSmall, IntegerTooLarge, ObjectsApart,
    │   │                                 PreviousResponseNotFound, SocketExpired, SocketIdle)
    │   ├── InvalidGrant            400  (and UnsupportedGrantType, InvalidInvite)
    │   ├── Unauthenticated         401
    │   ├── AddressNotAllowed       401
    │   ├── Forbidden               403
    │   ├── NotFound                404  (and UnknownPath, ModelNotFound, NotSupported, ObjectNotFound)
    │   ├── MethodNotAllowed        405
    │   ├── IdempotencyKeyInUse     409
    │   ├── PriceExists             409  (and UpstreamExists)
    │   ├── UserExists              409  (and InviteAccepted, LastOwner)
    │   ├── PreconditionFailed      412
    │   ├── BodyTimeout             408
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedMediaType    415
    │   ├── IdempotencyKeyReused    422  (and UpstreamTestFailed)
    │   ├── BudgetSpent             429  (and BudgetReserved)
    │   ├── RateLimitExceeded       429
    │   ├── TooManySignIns          429
    │   ├── TooManyUnknownKeys      429
    │   └── HeadersTooLarge         431  (and UpgradeRequired 426)
    ├── Operational         Weir or an upstream cannot answer right now; a warning and a counter
    │   ├── UpstreamUnreachable     502  (and UpstreamRejectedCredential, UpstreamAnsweredNonsense)
    │   ├── NoUpstream              503  (and UpstreamGone, ListTooLong, TimeZoneUnknown)
    │   ├── UpstreamBusy            429
    │   ├── Unavailable             503  (and UpstreamUnavailable)
    │   └── UpstreamTimeout         504
    └── Bug                 500; traceback and Sentry, the client learns nothing

The body is OpenAI's envelope, `{"error": {"message", "type", "param", "code"}}`:
https://platform.openai.com/docs/guides/error-codes
"""

from typing import Any, ClassVar


class WeirError(Exception):
    """An error with a place in OpenAI's envelope: HTTP `status`, `type`, `code`, `message`, `param`, `headers`."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers or {}

    def envelope(self) -> dict[str, dict[str, Any]]:
        """Return the JSON body that a client gets."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class Refusal(WeirError):
    """The caller asked for something that it cannot have; asking again as before will not help."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(Refusal):
    """A value is not allowed; `param` names it."""

    code = "invalid_value"


class MissingParameter(Refusal):
    """A required parameter is not there."""

    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.", param=param)


class InvalidType(Refusal):
    """A parameter is of another JSON type than the one it must have."""

    code = "invalid_type"

    def __init__(self, param: str, *, expected: str, got: str) -> None:
        super().__init__(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param)


class IntegerTooSmall(Refusal):
    """A parameter is a whole number below the smallest that it may be."""

    code = "integer_below_min_value"

    def __init__(self, param: str, minimum: int, got: int) -> None:
        super().__init__(
            f"Invalid '{param}': integer below minimum value. Expected a value >= {minimum}, but got {got} instead.",
            param=param,
        )


class IntegerTooLarge(Refusal):
    """A parameter is a whole number above the largest that it may be."""

    code = "integer_above_max_value"

    def __init__(self, param: str, maximum: int, got: int) -> None:
        super().__init__(
            f"Invalid '{param}': integer above maximum value. Expected a value <= {maximum}, but got {got} instead.",
            param=param,
        )


class InvalidJson(Refusal):
    """The body is not what JSON (RFC 8259) allows, or not an object."""

    code = "invalid_json"


class Unauthenticated(Refusal):
    """No key, or one that does not work: missing, malformed, unknown, revoked and expired keys all answer the same."""

    status = 401
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "Incorrect or missing API key. Send a valid Weir key as 'Authorization: Bearer <key>'.",
            headers={"www-authenticate": 'Bearer realm="weir"'},
        )


class Forbidden(Refusal):
    """The key works, but may not do this."""

    status = 403
    code = "insufficient_permissions"


class NotFound(Refusal):
    """There is no such object, or it belongs to somebody else: callers cannot tell the two apart."""

    status = 404
    code = "not_found"


class UnknownPath(NotFound):
    """No route has this path."""

    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {path})")


class ModelNotFound(NotFound):
    """No upstream serves this model."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model '{model}' does not exist or you do not have access to it.", param="model")


class NotSupported(NotFound):
    """OpenAI's API has this, Weir has not; the message says what to use instead."""

    code = "not_supported_by_weir"

    def __init__(self, alternative: str) -> None:
        super().__init__(f"Weir does not have this. {alternative}")


class MethodNotAllowed(Refusal):
    """The path exists, the method does not; `Allow` lists those that do (RFC 9110, section 15.5.6)."""

    status = 405
    code = "method_not_allowed"


class PreconditionFailed(Refusal):
    """What was to be changed was changed by somebody else meanwhile: read it again (RFC 9110, section 13.1.1)."""

    status = 412
    code = "precondition_failed"


class BodyTooLarge(Refusal):
    """The body has more bytes than Weir reads."""

    status = 413
    code = "request_too_large"

    def __init__(self, size_bytes_max: int) -> None:
        super().__init__(f"The request body is larger than the {size_bytes_max} bytes that are allowed.")


class PriceExists(Refusal):
    """There is a price for the same model, tier and moment already, and prices are never changed."""

    status = 409
    code = "price_exists"

    def __init__(self) -> None:
        super().__init__(
            "There is a price for this model, service tier and valid_from already. Prices are never changed: "
            "choose another valid_from.",
            param="valid_from",
            headers={"x-should-retry": "false"},
        )


class UnsupportedMediaType(Refusal):
    """The body's content type is not one that this endpoint reads."""

    status = 415
    code = "unsupported_media_type"


class HeadersTooLarge(Refusal):
    """The header section is larger than Weir reads (RFC 6585, section 5)."""

    status = 431
    code = "headers_too_large"


class Operational(WeirError):
    """Something that Weir needs is not there right now; operators get a warning and a counter."""

    status = 503


class Unavailable(Operational):
    """Weir cannot do this now, and says when to ask again."""

    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message, headers={"retry-after": str(retry_after_seconds)})


class NoUpstream(Operational):
    """No upstream is configured for this model; asking again does not help until an operator acts."""

    code = "no_upstream"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model", headers={"x-should-retry": "false"})


class UpstreamUnreachable(Operational):
    """The upstream refused the connection, reset it, or ended it before its answer was complete."""

    status = 502
    type = "upstream_error"
    code = "upstream_unreachable"


class UpstreamRejectedCredential(Operational):
    """The upstream does not accept the key that Weir has for it: the operator's business, not the caller's 401."""

    status = 502
    type = "upstream_error"
    code = "upstream_authentication_failed"

    def __init__(self, upstream: str) -> None:
        super().__init__(
            f"The upstream '{upstream}' did not accept the credential that Weir is configured with.",
            headers={"x-should-retry": "false"},
        )


class UpstreamAnsweredNonsense(Operational):
    """The upstream's answer is not what its API promises: HTML, broken JSON, a stream without an end."""

    status = 502
    type = "upstream_error"
    code = "upstream_invalid_response"


class UpstreamTimeout(Operational):
    """The upstream did not answer, or did not go on answering, within the time it is given."""

    status = 504
    type = "upstream_error"
    code = "upstream_timeout"


class Bug(WeirError):
    """Anything unforeseen; the details are for operators only."""

    code = "internal_error"

    def __init__(self) -> None:
        super().__init__("The server had an error while processing your request. Its request id finds it in the logs.")
