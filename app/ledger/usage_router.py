"""What was used, in the shape of OpenAI's usage API; for admin keys."""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from app.deps import BillDep
from app.ledger.bill import COMPLETIONS, EMBEDDINGS, MODERATIONS, SPEECHES, TRANSCRIPTIONS
from app.ledger.usage_schemas import (
    CompletionsPage,
    CompletionsQuery,
    CompletionsResult,
    EmbeddingsPage,
    EmbeddingsResult,
    ImagesPage,
    ImagesQuery,
    ImagesResult,
    ModerationsPage,
    ModerationsResult,
    SpeechesPage,
    SpeechesResult,
    TranscriptionsPage,
    TranscriptionsResult,
    UsageQuery,
)
from app.observability.conditional import ConditionalRoute

_BRACKETS: Final = re.compile(rb"(?<=[a-z_])(?:\[\]|%5B%5D)(?==|&|$)", re.IGNORECASE)


class BracketsRoute(ConditionalRoute):
    """A route that reads `name[]=a&name[]=b`, which the SDKs send for lists, as `name=a&name=b`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind one that takes the brackets off."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            query = _BRACKETS.sub(b"", request.scope["query_string"])
            return await handler(Request({**request.scope, "query_string": query}, request.receive))

        return handle


router = APIRouter(prefix="/organization/usage", route_class=BracketsRoute, tags=["Usage and costs"])


@router.get("/completions", summary="Usage of completions")
async def get_completions(query: Annotated[CompletionsQuery, Query()], bill: BillDep) -> CompletionsPage:
    """Return tokens and requests of chat completions, completions and responses in buckets of time."""
    asked = query.asked(COMPLETIONS, is_batch=query.batch)
    return CompletionsPage.of(await bill.get_page(asked, query.page, query.buckets_max), CompletionsResult.of)


@router.get("/embeddings", summary="Usage of embeddings")
async def get_embeddings(query: Annotated[UsageQuery, Query()], bill: BillDep) -> EmbeddingsPage:
    """Return tokens and requests of embeddings in buckets of time."""
    page = await bill.get_page(query.asked(EMBEDDINGS), query.page, query.buckets_max)
    return EmbeddingsPage.of(page, EmbeddingsResult.of)


@router.get("/moderations", summary="Usage of moderations")
async def get_moderations(query: Annotated[UsageQuery, Query()], bill: BillDep) -> ModerationsPage:
    """Return tokens and requests of moderations in buckets of time."""
    page = await bill.get_page(query.asked(MODERATIONS), query.page, query.buckets_max)
    return ModerationsPage.of(page, ModerationsResult.of)


@router.get("/images", summary="Usage of images")
async def get_images(query: Annotated[ImagesQuery, Query()], bill: BillDep) -> ImagesPage:
    """Return images and requests in buckets of time."""
    page = await bill.get_page(query.asked(query.operations), query.page, query.buckets_max)
    return ImagesPage.of(page, ImagesResult.of)


@router.get("/audio_speeches", summary="Usage of speech")
async def get_speeches(query: Annotated[UsageQuery, Query()], bill: BillDep) -> SpeechesPage:
    """Return characters and requests of speech in buckets of time."""
    page = await bill.get_page(query.asked(SPEECHES), query.page, query.buckets_max)
    return SpeechesPage.of(page, SpeechesResult.of)


@router.get("/audio_transcriptions", summary="Usage of transcriptions")
async def get_transcriptions(query: Annotated[UsageQuery, Query()], bill: BillDep) -> TranscriptionsPage:
    """Return seconds and requests of transcriptions and translations in buckets of time."""
    page = await bill.get_page(query.asked(TRANSCRIPTIONS), query.page, query.buckets_max)
    return TranscriptionsPage.of(page, TranscriptionsResult.of)
