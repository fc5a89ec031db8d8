"""What programs do with instructor, whatever server."""

# mypy: disable-error-code="import-not-found"

from collections.abc import Iterable
from functools import partial
from typing import Any

import instructor
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.scenarios.frameworks.telling import MODEL, QUESTION, Journey, Recipe, Server, failing, tell


class Never(BaseModel):
    """What no answer is."""

    number: int

    def model_post_init(self, _: Any) -> None:
        raise ValueError("it is never right")


_ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
}
_TOOLS, _RESPONSES = instructor.Mode.TOOLS, instructor.Mode.RESPONSES_TOOLS


def _address(server: Server) -> Any:
    return {
        "base_url": server.base_url,
        "api_key": server.api_key,
        "default_headers": server.headers,
        "max_retries": 0,
    }


def _client(server: Server, mode: Any = _TOOLS) -> Any:
    return instructor.from_openai(OpenAI(**_address(server)), mode=mode)


def plain(server: Server, mode: Any = _TOOLS) -> Any:
    return _client(server, mode).chat.completions.create(response_model=Recipe, **_ASKED).model_dump()


def raw(server: Server, mode: Any = _TOOLS) -> Any:
    create = _client(server, mode).chat.completions.create_with_completion
    recipe, completion = create(response_model=Recipe, **_ASKED)
    return [recipe.model_dump(), completion.model_dump(mode="json")]


async def in_a_loop(server: Server, mode: Any = _TOOLS) -> Any:
    client = instructor.from_openai(AsyncOpenAI(**_address(server)), mode=mode)
    return (await client.chat.completions.create(response_model=Recipe, **_ASKED)).model_dump()


def partly(server: Server, mode: Any = _TOOLS) -> Any:
    pieces = _client(server, mode).chat.completions.create_partial(response_model=Recipe, **_ASKED)
    return [piece.model_dump() for piece in pieces]


def one_by_one(server: Server, mode: Any = _TOOLS) -> Any:
    recipes = _client(server, mode).chat.completions.create_iterable(response_model=Recipe, **_ASKED)
    return [recipe.model_dump() for recipe in recipes]


def many(server: Server) -> Any:
    recipes = _client(server).chat.completions.create(response_model=Iterable[Recipe], **_ASKED)
    return [recipe.model_dump() for recipe in recipes]


def without_a_model(server: Server) -> Any:
    return _client(server).chat.completions.create(response_model=None, **_ASKED).model_dump(mode="json")


def asked_again(server: Server) -> Any:
    return _client(server).chat.completions.create(response_model=Never, max_retries=2, **_ASKED)


JOURNEYS: dict[str, Journey] = {
    "raw": raw,
    "in a loop": in_a_loop,
    "partly": partly,
    "one by one": one_by_one,
    "many": many,
    "without a model": without_a_model,
    "asked again": asked_again,
    **{
        f"mode {mode.value}": partial(plain, mode=mode)
        for mode in (
            instructor.Mode.TOOLS,
            instructor.Mode.TOOLS_STRICT,
            instructor.Mode.PARALLEL_TOOLS,
            instructor.Mode.JSON,
            instructor.Mode.JSON_SCHEMA,
            instructor.Mode.MD_JSON,
        )
    },
    "partly, as json": partial(partly, mode=instructor.Mode.JSON_SCHEMA),
    "responses": partial(raw, mode=_RESPONSES),
    "responses in a loop": partial(in_a_loop, mode=_RESPONSES),
    "responses partly": partial(partly, mode=_RESPONSES),
    "responses with a search": partial(plain, mode=instructor.Mode.RESPONSES_TOOLS_WITH_INBUILT_TOOLS),
    **failing(plain),
    **failing(partly, "streamed"),
    **failing(partial(plain, mode=_RESPONSES), "responses"),
    **failing(partial(partly, mode=_RESPONSES), "responses streamed"),
}

if __name__ == "__main__":
    tell(JOURNEYS)
