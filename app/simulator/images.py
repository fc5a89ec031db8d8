"""POST /v1/images/generations, /edits and /variations: small squares of one colour, whole or in events.

A model with `dall-e` in its name has no usage; any other is billed by tokens, as many as `gpt-image-1` has.
https://platform.openai.com/docs/api-reference/images
"""

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.core.clock import utc_now
from app.simulator.call import Ending
from app.simulator.chat_stream import is_broken_off
from app.simulator.delivery import EVENT_STREAM, Delivery
from app.simulator.fields import Document, find_number, read_flag, read_objects, read_text
from app.simulator.form import Form
from app.simulator.refusal import Refusal, missing_parameter
from app.simulator.text import count_tokens

DALL_E_DEFAULT: Final = "dall-e-2"
GPT_IMAGE_DEFAULT: Final = "gpt-image-1.5"
_IMAGES_MAX: Final = 10
_SEEN_TOKENS: Final = 323
"""Of an image that comes in."""
_PARTIAL_TOKENS: Final = 100
_PATCH_PIXELS: Final = {"low": 64, "medium": 32, "high": 16}
_SIDE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """A request that may be answered."""

    prompt: str
    count: int
    images_sent: int
    size: str
    quality: str
    output_format: str
    as_url: bool
    stream: bool
    partial_images: int

    @property
    def seen_tokens(self) -> int:
        """Tokens of the images that came in."""
        return _SEEN_TOKENS * self.images_sent

    @property
    def image_tokens(self) -> int:
        """Tokens of an image that goes out."""
        patch = _PATCH_PIXELS[self.quality]
        width, height = (int(side) // patch for side in self.size.split("x"))
        return width * height + height


async def answer_image_document(delivery: Delivery, document: Document, model: str) -> Ending:
    """Answer a request for new images, or for edits of images that are named."""
    sent = 0
    if delivery.exchange.call.path.endswith("/edits"):
        sent = len(read_objects(document, "images"))
        if not sent:
            raise missing_parameter("images")
    read_text(document, "prompt")
    return await _answer(delivery, read_image_request(document, sent), model)


async def answer_image_form(delivery: Delivery, form: Form, model: str) -> Ending:
    """Answer a request for edits or variations of the images in *form*."""
    files = [part for part in form.parts if part.filename is not None and part.name.partition("[")[0] == "image"]
    if not files:
        raise missing_parameter("image")
    document: dict[str, Any] = {**form.fields()}
    for name in ("n", "partial_images"):
        if name in document:
            document[name] = int(document[name])
    document["stream"] = document.get("stream") == "true"
    if delivery.exchange.call.path.endswith("/edits"):
        read_text(document, "prompt")
    return await _answer(delivery, read_image_request(document, len(files)), model)


def read_image_request(document: Document, images_sent: int) -> ImageRequest:
    """Return the request in *document*; raises Refusal (400)."""
    size, quality = document.get("size") or "auto", document.get("quality") or "auto"
    return ImageRequest(
        prompt=document.get("prompt") or "",
        count=find_number(document, "n", 1, _IMAGES_MAX) or 1,
        images_sent=images_sent,
        size="1024x1024" if size == "auto" else size,
        quality=quality if quality in _PATCH_PIXELS else "medium",
        output_format=document.get("output_format") or "png",
        as_url=document.get("response_format") != "b64_json",
        stream=read_flag(document, "stream"),
        partial_images=find_number(document, "partial_images", 0, 3) or 0,
    )


async def _answer(delivery: Delivery, request: ImageRequest, model: str) -> Ending:
    call, script = delivery.exchange.call, delivery.script
    is_dall_e = "dall-e" in model
    if request.stream and is_dall_e:
        raise Refusal(400, "Unknown parameter: 'stream'.", param="stream", code="unknown_parameter")
    call.stream = request.stream
    tokens = request.image_tokens if script.output_tokens is None else script.output_tokens
    text_tokens = count_tokens(request.prompt) if script.prompt_tokens is None else script.prompt_tokens
    if script.generates and not is_dall_e:
        call.prompt_tokens = request.count * (text_tokens + request.seen_tokens)
    await delivery.wait_for_turn()
    if request.stream:
        await delivery.start(200, EVENT_STREAM)
        return await _send_events(delivery, request, text_tokens, tokens)
    call.images = request.count
    data = [_image(f"{model}{request.prompt}{number}") for number in range(request.count)]
    answer: dict[str, Any] = {"created": int(utc_now().timestamp())}
    if is_dall_e:
        key = "url" if request.as_url else "b64_json"
        prefix = "data:image/png;base64," if request.as_url else ""
        answer["data"] = [{key: prefix + image, "revised_prompt": request.prompt} for image in data]
        return await delivery.send_json(orjson.dumps(answer))
    call.completion_tokens = request.count * tokens
    answer |= {"background": "opaque", "data": [{"b64_json": image} for image in data], **_shape(request)}
    if not script.no_usage:
        answer["usage"] = _usage(request, request.count * text_tokens, call.completion_tokens, request.count)
    return await delivery.send_json(orjson.dumps(answer), completion_tokens=call.completion_tokens)


async def _send_events(delivery: Delivery, request: ImageRequest, text_tokens: int, tokens: int) -> Ending:
    exchange, script = delivery.exchange, delivery.script
    kind = "image_edit" if exchange.call.path.endswith("/edits") else "image_generation"
    pieces = [number for _ in range(request.count) for number in (*range(request.partial_images), None)]
    if await is_broken_off(exchange, script, 0):
        return Ending.CUT
    for count, partial in enumerate(pieces, start=1):
        await exchange.pause(1 / script.tokens_per_second if script.tokens_per_second else 0)
        event: dict[str, Any] = {"b64_json": _image(f"{request.prompt}{count}"), "background": "opaque"}
        event |= {"created_at": int(utc_now().timestamp()), **_shape(request)}
        made = _PARTIAL_TOKENS if partial is not None else tokens
        if partial is not None:
            event = {"type": f"{kind}.partial_image", **event, "partial_image_index": partial}
        else:
            event = {"type": f"{kind}.completed", **event}
            exchange.call.images += 1
            if not script.no_usage:
                event["usage"] = _usage(request, text_tokens, tokens + request.partial_images * _PARTIAL_TOKENS, 1)
        exchange.call.completion_tokens += made
        frame = b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        is_malformed = count == 1 and script.malformed == "json"
        await exchange.write(frame[: len(frame) // 2] + b"\n\n" if is_malformed else frame)
        exchange.call.completion_tokens_sent += made
        if await is_broken_off(exchange, script, count):
            return Ending.CUT
    await exchange.finish()
    return Ending.FINISHED


def _shape(request: ImageRequest) -> dict[str, str]:
    return {"output_format": request.output_format, "quality": request.quality, "size": request.size}


def _usage(request: ImageRequest, text_tokens: int, output_tokens: int, images: int) -> dict[str, Any]:
    seen = images * request.seen_tokens
    return {
        "input_tokens": text_tokens + seen,
        "input_tokens_details": {"image_tokens": seen, "text_tokens": text_tokens},
        "output_tokens": output_tokens,
        "output_tokens_details": {"image_tokens": output_tokens, "text_tokens": 0},
        "total_tokens": text_tokens + seen + output_tokens,
    }


def _image(seed: str) -> str:
    """Return a PNG file of one colour in base64 (https://www.w3.org/TR/png-3/)."""
    colour = hashlib.sha256(seed.encode()).digest()[:3]
    rows = (b"\0" + colour * _SIDE) * _SIDE
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    written = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(written)).decode()
