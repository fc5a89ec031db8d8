"""The doors of embeddings, completions, moderations and images: each is a metered call like that of chat."""

from typing import Final

from fastapi import APIRouter, Request, Response

from app.deps import shows_key_in_docs
from app.gateway.operation_schemas import (
    COMPLETIONS_DOCS,
    EMBEDDINGS_DOCS,
    IMAGE_EDITS_DOCS,
    IMAGE_GENERATIONS_DOCS,
    IMAGE_VARIATIONS_DOCS,
    MODERATIONS_DOCS,
)
from app.gateway.operations.completions import Completions
from app.gateway.operations.embeddings import Embeddings
from app.gateway.operations.images import ImageEdits, ImageGenerations, ImageVariations
from app.gateway.operations.moderations import Moderations
from app.gateway.router import MeteredCall, MeteredRoute

router = APIRouter(route_class=MeteredRoute, dependencies=[shows_key_in_docs])
_EMBEDDINGS: Final = MeteredCall(Embeddings())
_COMPLETIONS: Final = MeteredCall(Completions())
_MODERATIONS: Final = MeteredCall(Moderations())
_GENERATIONS: Final = MeteredCall(ImageGenerations())
_EDITS: Final = MeteredCall(ImageEdits())
_VARIATIONS: Final = MeteredCall(ImageVariations())


@router.post("/embeddings", summary="Create embeddings", tags=["Embeddings"], **EMBEDDINGS_DOCS)
async def create_embeddings(_: Request) -> Response:
    """Answer as the upstream does, with vectors as numbers or as base64."""
    return _EMBEDDINGS


@router.post("/completions", summary="Create a completion", tags=["Completions"], **COMPLETIONS_DOCS)
async def create_completion(_: Request) -> Response:
    """Answer as the upstream does, in JSON or, with `"stream": true`, in server-sent events.

    This is the endpoint before chat. Without `max_tokens` a completion has at most 16 of them.
    """
    return _COMPLETIONS


@router.post("/moderations", summary="Create a moderation", tags=["Moderations"], **MODERATIONS_DOCS)
async def create_moderation(_: Request) -> Response:
    """Answer as the upstream does. Moderations are free, under a budget too."""
    return _MODERATIONS


@router.post("/images/generations", summary="Create images", tags=["Images"], **IMAGE_GENERATIONS_DOCS)
async def create_images(_: Request) -> Response:
    """Answer as the upstream does, in JSON or, with `"stream": true`, in server-sent events."""
    return _GENERATIONS


@router.post("/images/edits", summary="Edit images", tags=["Images"], **IMAGE_EDITS_DOCS)
async def edit_images(_: Request) -> Response:
    """Answer as the upstream does, to a form with the images in it or to JSON that says where they are."""
    return _EDITS


@router.post("/images/variations", summary="Create variations of an image", tags=["Images"], **IMAGE_VARIATIONS_DOCS)
async def create_image_variations(_: Request) -> Response:
    """Answer as the upstream does, to a form with the image in it."""
    return _VARIATIONS
