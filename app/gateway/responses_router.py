"""The doors of the Responses API that make something: each is a metered call like that of chat."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.deps import shows_key_in_docs
from app.gateway.operations.responses import Responses
from app.gateway.operations.responses_more import Compact, InputTokens
from app.gateway.responses_schemas import COMPACT_DOCS, INPUT_TOKENS_DOCS, RESPONSES_DOCS
from app.gateway.router import MeteredCall, MeteredRoute

router = APIRouter(route_class=MeteredRoute, tags=["Responses"], dependencies=[shows_key_in_docs])
_RESPONSES: Final = MeteredCall(Responses())
_COMPACT: Final = MeteredCall(Compact())
_INPUT_TOKENS: Final = MeteredCall(InputTokens())


@router.post("/responses", summary="Create a response", **RESPONSES_DOCS)
async def create_response(_: Request) -> Response:
    """Answer as the upstream does, in JSON or, with `"stream": true`, in server-sent events.

    What the request names of stored objects must be the project's; the response is the project's from then on.
    """
    return _RESPONSES


@router.post("/responses/compact", summary="Make a conversation shorter", **COMPACT_DOCS)
async def compact_conversation(_: Request) -> Response:
    """Answer with fewer items that stand for all of those sent."""
    return _COMPACT


@router.post("/responses/input_tokens", summary="Count input tokens", **INPUT_TOKENS_DOCS)
async def count_input_tokens(_: Request) -> Response:
    """Answer how many tokens the input of a response would be; it is free."""
    return _INPUT_TOKENS
