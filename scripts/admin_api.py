"""Every method of `client.admin.organization` in OpenAI's SDK, found by asking the SDK that is installed."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import httpx2
from fastapi.routing import APIRoute
from openai import OpenAI, OpenAIError
from openai._resource import SyncAPIResource

from app.routes import ROUTES

BASE: Final = "http://weir.invalid/v1"
_OPTIONS: Final = {"extra_headers", "extra_query", "extra_body", "timeout"}
_SECRET: Final = "not used"  # noqa: S105


class SdkMethod(NamedTuple):
    """One method, and arguments that it can be called with: ids are the names of their parameters in braces."""

    name: str
    """Such as `client.admin.organization.projects.create`."""
    call: Callable[..., Any]
    arguments: dict[str, Any]


class Operation(NamedTuple):
    """One request that the SDK can make."""

    method: str
    path: str
    """Such as `/v1/organization/projects/{project_id}`."""
    sdk: str


def sdk_methods(client: OpenAI) -> Iterator[SdkMethod]:
    """Yield every method of the resources below `client.admin.organization`."""
    yield from _methods_of(client.admin.organization, "client.admin.organization")


@cache
def operations() -> tuple[Operation, ...]:
    """Return what every method asks for, ordered by path; nothing leaves this process."""
    asked: list[httpx2.Request] = []

    def keep(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(404, json={})

    found = []
    transport = httpx2.Client(transport=httpx2.MockTransport(keep))
    with OpenAI(base_url=BASE, api_key=_SECRET, admin_api_key=_SECRET, max_retries=0, http_client=transport) as client:
        for method in sdk_methods(client):
            with contextlib.suppress(OpenAIError):
                method.call(**method.arguments)
            request = asked.pop()
            found.append(Operation(request.method, unquote(request.url.path), method.name))
    return tuple(sorted(found, key=lambda operation: (operation.path, operation.method)))


def support(operation: Operation) -> str:
    """Return `yes` if Weir has it, what to use instead if Weir says so, and `no` if it does not even do that."""
    for mount in ROUTES:
        path = operation.path.removeprefix(mount.prefix)
        for route in mount.router.routes:
            if not isinstance(route, APIRoute) or operation.method not in (route.methods or ()):
                continue
            if route.path_regex.match(path):
                return "yes" if route.include_in_schema else str(route.summary)
    return "no"


def _methods_of(resource: SyncAPIResource, name: str) -> Iterator[SdkMethod]:
    for attribute, member in vars(type(resource)).items():
        if attribute.startswith(("_", "with_")):
            continue
        if isinstance(member, cached_property):
            yield from _methods_of(getattr(resource, attribute), f"{name}.{attribute}")
        else:
            call = getattr(resource, attribute)
            yield SdkMethod(f"{name}.{attribute}", call, _arguments(call))


def _arguments(call: Callable[..., Any]) -> dict[str, Any]:
    """Return what *call* needs; where the SDK knows several sets of arguments (`__wrapped__`), all of them."""
    parameters = inspect.signature(call).parameters.values()
    takes_sets = hasattr(call, "__wrapped__")
    needed = (
        p.name for p in parameters if p.default is inspect.Parameter.empty or (takes_sets and p.name not in _OPTIONS)
    )
    return {name: f"{{{name}}}" for name in needed}
