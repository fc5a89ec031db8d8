"""Answers to GET carry an entity tag, and one that the client has already is not sent again.

RFC 9110, sections 8.8.3 and 13.1.2. For small documents only: it reads the whole answer.
"""

import hashlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute


class ConditionalRoute(APIRoute):
    """A route that answers 304 to `If-None-Match` with the tag of what it would answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint, with its answers tagged; a tag that it set itself stays."""
        answer = super().get_route_handler()

        async def tagged(request: Request) -> Response:
            response = await answer(request)
            is_document = not isinstance(response, StreamingResponse) and response.status_code == HTTPStatus.OK
            if request.method != "GET" or not is_document:
                return response
            tag = response.headers.setdefault("etag", f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"')
            if not _names(request.headers.get("if-none-match"), tag):
                return response
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})

        return tagged


def _names(if_none_match: str | None, tag: str) -> bool:
    """Tell whether the header names *tag*, by the weak comparison (RFC 9110, section 8.8.3.2)."""
    if if_none_match is None:
        return False
    tags = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return not tags.isdisjoint({"*", tag.removeprefix("W/")})
