"""Images: made from a text, from other images and a text, or as variations of one image.

https://platform.openai.com/docs/api-reference/images
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.errors import MissingParameter
from app.gateway.body import find_model, json_object, optional, read_object, refuse_ambiguous, required
from app.gateway.image_bound import image_bound, image_spec
from app.gateway.image_usage import image_usage
from app.gateway.multipart import Form, is_form, read_form
from app.gateway.operations.images_stream import ImageStream
from app.gateway.operations.operation import Answered, MeteredRequest, Operation, Whole
from app.gateway.usage import objects, text_tokens
from app.prices.usage import Usage

_FIELDS: Final = {
    "frame_count": int,
    "model": str,
    "n": int,
    "output_format": str,
    "partial_images": int,
    "prompt": str,
    "quality": str,
    "size": str,
    "stream": bool,
}
_GPT_IMAGE: Final = "gpt-image-1.5"
"""What a request without a model is for."""
_DALL_E: Final = "dall-e-2"
"""And one for variations, which no other model makes."""
_OVERLAYS: Final = ("mask", "markup")
_SEEN_TOKENS: Final = 1_000
"""About what an image that goes in is."""


class _Images(Operation):
    """What the three have in common."""

    def answered(self, whole: Whole) -> Answered | None:
        """Return what a list of images says; None for what is none."""
        document = json_object(whole.body)
        data = None if document is None else document.get("data")
        if document is None or (not isinstance(data, list) and "created" not in document):
            return None
        tokens = whole.request.output_tokens_expected or 0
        if not isinstance(data, list):  # nobody knows what was made of what was asked for
            asked = max(1, whole.request.bound.units.images)
            usage = image_usage(document.get("usage"), asked)
            return Answered(usage, output_tokens=0 if usage else asked * tokens)
        images = len(objects(data))
        usage = image_usage(document.get("usage"), images)
        if usage is not None:
            return Answered(usage)
        # By the image they are paid for exactly; by tokens it can only be estimated.
        return Answered(Usage(images=images), output_tokens=images * tokens)

    def estimated(self, request: MeteredRequest) -> Usage:
        """Return about how many tokens the text and the images in *request* are, and the images that it asks for."""
        return Usage(
            input_tokens=request.input_tokens,
            input_image_tokens=request.input_image_tokens,
            images=request.bound.units.images,
        )

    def stream(self, request: MeteredRequest) -> ImageStream:
        """Return what meters its stream of images."""
        return ImageStream(request.output_tokens_expected or 0, max(1, request.bound.units.images))

    def _request(self, document: dict[str, Any], model: str, body: bytes, form: Form | None) -> MeteredRequest:
        spec = image_spec(document, model)
        prompt = optional(document, "prompt", str) or ""
        images = _images_sent(document, form)
        return MeteredRequest(
            model=model,
            bound=image_bound(spec, prompt, images),
            body=body,
            input_tokens=text_tokens(prompt.encode()) + _SEEN_TOKENS * images,
            input_image_tokens=_SEEN_TOKENS * images,
            streamed=bool(optional(document, "stream", bool)),
            references=tuple(_file_ids(document)),
            form=form,
            output_tokens_expected=spec.tokens,
            variants=spec.variants,
        )


class ImageGenerations(_Images):
    """The operation `images.generations`."""

    name = "images.generations"
    path = "/images/generations"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        document = _read_json(body, headers)
        required(document, "prompt", str)
        return self._request(document, find_model(document, _GPT_IMAGE), body, None)


class ImageEdits(_Images):
    """The operation `images.edits`: a form with the images in it, or JSON that says where they are."""

    name = "images.edits"
    path = "/images/edits"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        if not is_form(headers.get("content-type")):
            document = _read_json(body, headers)
            required(document, "images", list)
            form = None
        else:
            form, document = _read_form(body, headers)
        required(document, "prompt", str)
        return self._request(document, find_model(document, _GPT_IMAGE), body, form)


class ImageVariations(_Images):
    """The operation `images.variations`: a form with an image in it."""

    name = "images.variations"
    path = "/images/variations"

    def read(self, body: bytes, headers: Mapping[str, str]) -> MeteredRequest:
        """Return the request in *body*; raises a Refusal that says what is wrong with it and where."""
        form, document = _read_form(body, headers)
        return self._request(document, find_model(document, _DALL_E), body, form)


def _images_sent(document: dict[str, Any], form: Form | None) -> int:
    """Return how many images a request has in it or names."""
    if form is not None:
        return sum(part.is_file for part in form.parts)
    images = document.get("images")
    overlays = sum(document.get(name) is not None for name in _OVERLAYS)
    return (len(images) if isinstance(images, list) else 0) + overlays


def _file_ids(document: Mapping[str, Any]) -> Iterator[str]:
    for image in objects([*(document.get("images") or ()), *map(document.get, _OVERLAYS)]):
        if isinstance(image.get("file_id"), str):
            yield image["file_id"]


def _read_json(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    document = read_object(body, headers.get("content-type"), headers.get("content-encoding"))
    refuse_ambiguous(body, document, _FIELDS.keys() | {"images", *_OVERLAYS})
    return document


def _read_form(body: bytes, headers: Mapping[str, str]) -> tuple[Form, dict[str, Any]]:
    form = read_form(body, headers.get("content-type"), headers.get("content-encoding"))
    if not form.files("image"):
        raise MissingParameter("image")
    return form, form.read(_FIELDS)
