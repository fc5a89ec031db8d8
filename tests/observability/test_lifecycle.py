"""Routes that are going away say so, to callers and to operators."""

from datetime import UTC, datetime

import httpx
from fastapi import APIRouter, FastAPI

from app.main import create_app
from app.observability.lifecycle import Deprecation, DeprecationHeaders
from app.routes import DEPRECATIONS
from app.settings import Settings

OLD = Deprecation(
    since=datetime(2026, 1, 1, tzinfo=UTC),
    link="https://example.org/instead",
    sunset=datetime(2027, 6, 30, 12, tzinfo=UTC),
)


async def ask(path: str, deprecation: Deprecation) -> tuple[httpx.Response, list[str]]:
    used: list[str] = []
    app = FastAPI()
    router = APIRouter()

    @router.get("/things/{thing_id}")
    async def get_thing(thing_id: str) -> str:
        return thing_id

    @router.get("/others")
    async def list_others() -> list[str]:
        return []

    app.include_router(router, prefix="/v1")
    app.add_middleware(DeprecationHeaders, deprecations={"/v1/things/{thing_id}": deprecation}, used=used.append)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://weir") as client:
        return await client.get(path), used


async def test_a_deprecated_route_says_since_when_until_when_and_what_to_use_instead() -> None:
    answer, used = await ask("/v1/things/7", OLD)

    assert answer.headers["deprecation"] == "@1767225600"
    assert answer.headers["sunset"] == "Wed, 30 Jun 2027 12:00:00 GMT"
    assert answer.headers["link"] == '<https://example.org/instead>; rel="deprecation"; type="text/html"'
    assert used == ["/v1/things/{thing_id}"]


async def test_without_a_date_to_end_there_is_no_sunset() -> None:
    answer, _ = await ask("/v1/things/7", OLD._replace(sunset=None))

    assert "sunset" not in answer.headers
    assert "deprecation" in answer.headers


async def test_other_routes_and_unknown_paths_say_nothing() -> None:
    for path in ("/v1/others", "/v1/unknown"):
        answer, used = await ask(path, OLD)
        assert "deprecation" not in answer.headers
        assert used == []


def test_what_is_deprecated_is_marked_so_in_the_api_description_and_nothing_else() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    marked = {path for path, item in paths.items() for operation in item.values() if operation.get("deprecated")}

    assert marked == set(DEPRECATIONS)
