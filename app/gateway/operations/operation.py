"""What an operation is to the gateway: how a request is read, and what its answer says it used. Pure.

An endpoint of OpenAI's API that Weir meters is one file beside this one, with one subclass of `Operation`. What is
billed without being one, such as a response in a realtime session, is only `Charged`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import orjson

from app.gateway.multipart import Form
from app.gateway.responses_usage import NO_TOOLS, NamedTools
from app.gateway.splice import replace_member
from app.gateway.stream import EventStream, StoredObject
from app.prices.service import Bound
from app.prices.usage import NO_USAGE, Usage


@dataclass(slots=True)
class MeteredRequest:
    """A request, read far enough to route, limit, bound and price it."""

    model: str
    bound: Bound
    """The most that it can use."""
    body: bytes
    """What goes upstream: the caller's bytes, unless something had to be asked for."""
    input_tokens: int = 0
    """About how many it sends, by our own count: for limits, and for an answer that does not say what was used."""
    input_image_tokens: int = 0
    """Those of them that are images, where that is known."""
    streamed: bool = False
    hides_usage: bool = False
    """The caller did not ask for the usage in the stream; Weir did."""
    is_capped: bool = True
    """Its output has a maximum, or it is of a kind whose cost does not depend on one: Weir need not set any."""
    service_tier: str | None = None
    stores: bool = False
    """Its answer is an object that the upstream keeps."""
    is_background: bool = False
    """The upstream goes on with it whoever is connected, and can be asked how it went."""
    references: tuple[str, ...] = ()
    """Ids of what is stored upstream that it names: its project must own them, and they decide where it goes."""
    form: Form | None = None
    """Its body, where that is a multipart form."""
    sound_seconds: int = 0
    """About how long the sound is that it sends; what that is at most is in `bound`."""
    sound_bytes: int = 0
    variants: tuple[str, ...] = ()
    """What of its model it asks for, in the words of prices: of `dall-e-3/hd/1792x1024` it is `hd/1792x1024`."""
    tool_models: tuple[str, ...] = ()
    """Models that its tools work with, beside its own: its caller must be allowed to call them as well."""
    tools: NamedTools = NO_TOOLS
    """What it says of the tools that its answer may have used."""
    output_tokens_expected: int | None = None
    """Where `bound` has many more than are likely: for limits, and for what cannot be known afterwards."""

    @property
    def identity(self) -> bytes:
        """What makes it the same request as another: not a form's boundary, which is a new one each time it is sent."""
        return self.body if self.form is None else self.body.replace(self.form.boundary, b"")


@dataclass(slots=True)
class Answered:
    """What a plain answer says."""

    usage: Usage | None
    """None when it does not say what it used, or cannot be believed."""
    model: object = None
    service_tier: object = None
    output_tokens: int = 0
    """About how many it has generated that `usage` does not tell of, by our own count."""
    stored: tuple[StoredObject, ...] = ()
    """What the upstream stores from now on."""
    apart: Usage = NO_USAGE
    """Without `usage`, what was found that is paid for apart."""
    is_pending: bool = False
    """The upstream goes on working, and says later what that used."""


@dataclass(slots=True)
class Whole:
    """A whole answer of status 200, or another that is no error."""

    request: MeteredRequest
    body: bytes
    content_type: str
    """Empty when the upstream says none."""


class Charged(ABC):
    """What is limited, reserved and written down under a name."""

    name: str
    """What the ledger calls it, such as `chat.completions`."""
    is_free: bool = False
    """Whether it costs nothing, whatever price its model has."""

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return about what *request* uses before anything is generated, for an answer that does not say so."""
        return Usage(input_tokens=request.input_tokens)

    def renamed(self, request: MeteredRequest, model: str) -> bytes:
        """Return the body of *request* with *model* in it instead of its own, every other byte as it came."""
        if request.form is not None:
            return request.form.replaced("model", model)
        return replace_member(request.body, "model", orjson.dumps(model))

    def capped(self, body: bytes, output_tokens: int) -> bytes:  # noqa: ARG002
        """Return the *body* of a request that is not capped, with *output_tokens* as the maximum of each choice.

        Where a request has no such maximum, that is its body as it is.
        """
        return body

    def counted_bound(self, request: MeteredRequest, count: Callable[[str], int]) -> Bound | None:  # noqa: ARG002
        """Return the bound of *request* with its text counted in tokens by *count*, None when that cannot be done."""
        return None


class Operation(Charged):
    """One endpoint. Its requests are JSON objects unless it says otherwise."""

    path: ClassVar[str]
    """Below the upstream's address, such as `/chat/completions`; it is also where Weir serves it, under `/v1`."""

    @abstractmethod
    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""

    @abstractmethod
    def answered(self, whole: Whole) -> Answered | None:
        """Return what a whole answer says; None when it is not what this endpoint answers."""

    @abstractmethod
    def stream(self, request: MeteredRequest) -> EventStream:
        """Return what meters the stream that answers *request*."""


class Unread(Operation):
    """An endpoint whose whole answers are bytes that Weir need not read: they are relayed as they come."""

    @abstractmethod
    def measured(self, request: MeteredRequest, size_bytes: int) -> Answered:
        """Return what an answer tells of which *size_bytes* were relayed.

        That is its usage, as far as it is known, and beside it the output tokens that can only be estimated.
        """
