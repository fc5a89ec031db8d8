"""The doors of what is stored upstream: responses, chat completions, models, each for the project whose it is."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from app.deps import ProjectCallerDep, StoredDep
from app.gateway.answer import Answer, Inbound
from app.gateway.responses_schemas import (
    DELETED_COMPLETION_DOCS,
    DELETED_MODEL_DOCS,
    DELETED_RESPONSE_DOCS,
    INPUT_ITEMS_DOCS,
    MESSAGES_DOCS,
    STORED_COMPLETION_DOCS,
    STORED_COMPLETIONS_DOCS,
    STORED_RESPONSE_DOCS,
)
from app.gateway.stored_service import StoredCall
from app.observability.context import call_context

_RESPONSE: Final = "/responses/{response_id}"
_COMPLETION: Final = "/chat/completions/{completion_id}"

ResponseId = Annotated[str, Path(min_length=1, max_length=256)]
CompletionId = Annotated[str, Path(min_length=1, max_length=256)]

router = APIRouter()


@router.get(_RESPONSE, summary="One response", tags=["Responses"], **STORED_RESPONSE_DOCS)
async def get_response(
    request: Request, response_id: ResponseId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Return a response; with `stream=true` its events, from behind the one numbered `starting_after`."""
    call = StoredCall("GET", response_id, _path("responses", response_id))
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.delete(_RESPONSE, summary="Delete a response", tags=["Responses"], **DELETED_RESPONSE_DOCS)
async def delete_response(
    request: Request, response_id: ResponseId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Delete a response."""
    call = StoredCall("DELETE", response_id, _path("responses", response_id), deletes=True)
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.post(f"{_RESPONSE}/cancel", summary="Cancel a response", tags=["Responses"], **STORED_RESPONSE_DOCS)
async def cancel_response(
    request: Request, response_id: ResponseId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Cancel a response that is made in the background; what it has used by then is charged."""
    call = StoredCall("POST", response_id, _path("responses", response_id, "cancel"), await request.body())
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.get(f"{_RESPONSE}/input_items", summary="Input of a response", tags=["Responses"], **INPUT_ITEMS_DOCS)
async def list_input_items(
    request: Request, response_id: ResponseId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Return a page of the items that a response was made from."""
    call = StoredCall("GET", response_id, _path("responses", response_id, "input_items"))
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.get("/chat/completions", summary="List stored chat completions", tags=["Chat"], **STORED_COMPLETIONS_DOCS)
async def list_completions(request: Request, caller: ProjectCallerDep, stored: StoredDep) -> Response:
    """Return a page of the project's chat completions that were made with `store`."""
    found = await stored.page(caller, "chat.completion", "/chat/completions", *_inbound(request))
    if isinstance(found, Answer):
        return _http(found)
    return Response(orjson.dumps(found), media_type="application/json")


@router.get(_COMPLETION, summary="One stored chat completion", tags=["Chat"], **STORED_COMPLETION_DOCS)
async def get_completion(
    request: Request, completion_id: CompletionId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Return a chat completion."""
    call = StoredCall("GET", completion_id, _path("chat/completions", completion_id))
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.post(_COMPLETION, summary="Change a stored chat completion", tags=["Chat"], **STORED_COMPLETION_DOCS)
async def update_completion(
    request: Request, completion_id: CompletionId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Change the metadata of a chat completion."""
    call = StoredCall("POST", completion_id, _path("chat/completions", completion_id), await request.body())
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.delete(_COMPLETION, summary="Delete a stored chat completion", tags=["Chat"], **DELETED_COMPLETION_DOCS)
async def delete_completion(
    request: Request, completion_id: CompletionId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Delete a chat completion."""
    call = StoredCall("DELETE", completion_id, _path("chat/completions", completion_id), deletes=True)
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.get(f"{_COMPLETION}/messages", summary="Messages of a stored chat completion", tags=["Chat"], **MESSAGES_DOCS)
async def list_messages(
    request: Request, completion_id: CompletionId, caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Return a page of the messages that a chat completion was made from."""
    call = StoredCall("GET", completion_id, _path("chat/completions", completion_id, "messages"))
    return _http(await stored.call(caller, call, *_inbound(request)))


@router.delete("/models/{model:path}", summary="Delete a fine-tuned model", tags=["Models"], **DELETED_MODEL_DOCS)
async def delete_model(
    request: Request, model: Annotated[str, Path(max_length=256)], caller: ProjectCallerDep, stored: StoredDep
) -> Response:
    """Delete a model that was made by a fine-tuning job of the project."""
    raw_path = request.scope["raw_path"].decode("latin-1").removeprefix("/v1")
    return _http(await stored.call(caller, StoredCall("DELETE", model, raw_path, deletes=True), *_inbound(request)))


def _path(collection: str, object_id: str, *below: str) -> str:
    return "/".join(("", collection, quote(object_id, safe=""), *below))


def _inbound(request: Request) -> tuple[Inbound, Any]:
    return Inbound(request.headers.raw, request.url.query), call_context(request.scope)


def _http(answer: Answer) -> Response:
    if isinstance(answer.body, bytes):
        response = Response(answer.body, answer.status)
    else:
        response = StreamingResponse(answer.body, answer.status)
    response.raw_headers = [
        *answer.headers,
        *(header for header in response.raw_headers if header[0] == b"content-length"),
    ]
    return response
