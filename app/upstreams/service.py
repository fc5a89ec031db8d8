"""Who answers: plans where a call goes and sends it there."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
from yarl import URL

from app.errors import ModelNotFound, NoUpstream, Operational, UpstreamRejectedCredential, UpstreamUnreachable
from app.keys.caller import Caller
from app.observability.context import CallContext
from app.observability.tracing import Tracer
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed
from app.upstreams.headers import to_upstream
from app.upstreams.routing import Plan, Upstream, plan

_log: Final = structlog.get_logger()
# One upstream that hangs must not keep the models of the others from being listed.
_MODELS_TIMEOUT_SECONDS: Final = 10.0


class UpstreamService:
    """The configured upstreams, in order of preference."""

    def __init__(
        self,
        client: UpstreamClient,
        upstreams: Sequence[Upstream],
        tracer: Tracer,
        allows: Callable[[Caller, str], bool],
    ) -> None:
        self._client = client
        self._allows = allows
        self._tracer = tracer
        self._upstreams = tuple(upstreams)

    def plan_for(self, caller: Caller, model: str) -> Plan:
        """Return the same for *caller*: to one who may not call it, a model is as unknown as one that is not there."""
        if not self._allows(caller, model):
            raise ModelNotFound(model)
        return self.plan(model)

    def plan(self, model: str) -> Plan:
        """Return where a call for *model* goes; raises NoUpstream or ModelNotFound."""
        found = plan(self._upstreams, [model])
        if found is not None:
            return found
        if all(upstream.name == "simulator" for upstream in self._upstreams):
            raise NoUpstream(
                f"No upstream is configured for the model '{model}'. Set OPENAI_API_KEY and start Weir again; "
                "until then only the built-in simulator's models answer, such as 'sim-small'."
            )
        raise ModelNotFound(model)

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        *,
        headers: Iterable[tuple[bytes, bytes]],
        context: CallContext,
        body: bytes | None = None,
    ) -> UpstreamAnswer:
        """Send one request to *path* below the upstream's address; raises UpstreamFailed."""
        url = URL(f"{upstream.base_url}{path}", encoded=True)
        with self._tracer.upstream(context, upstream.name) as span:
            outgoing = to_upstream(headers, upstream.api_key, context.request_id)
            self._tracer.inject(span, outgoing)
            return await self._client.send(method, url, outgoing, body)

    async def list_models(
        self, caller: Caller, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> list[dict[str, Any]]:
        """Return the model objects of every upstream that answers, as far as *caller*'s calls for them are sent there.

        Raises UpstreamUnreachable when none answers.
        """
        raw = tuple(headers)
        lists = await asyncio.gather(*(self._list_one(upstream, raw, context) for upstream in self._upstreams))
        if lists and all(models is None for models in lists):
            raise UpstreamUnreachable("No upstream can list its models right now.")
        merged: dict[str, dict[str, Any]] = {}
        for models in lists:
            for model in models or ():
                merged.setdefault(model["id"], model)
        return [model for name, model in merged.items() if self._allows(caller, name)]

    async def get_model(
        self, caller: Caller, model: str, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> dict[str, Any]:
        """Return the object of one model from the upstream that serves it.

        Raises ModelNotFound, NoUpstream, UpstreamUnreachable, or UpstreamRejectedCredential.
        """
        if not model.strip("."):  # "", "." and ".." are no names but other places: the list, and what is above it
            raise ModelNotFound(model)
        upstream = self.plan_for(caller, model).targets[0].upstream
        document = await self._get(upstream, f"/models/{quote(model, safe='')}", headers, context)
        if document is None:
            raise ModelNotFound(model)
        return document

    async def _list_one(
        self, upstream: Upstream, headers: tuple[tuple[bytes, bytes], ...], context: CallContext
    ) -> list[dict[str, Any]] | None:
        """Return the models of one upstream, None when it does not tell."""
        try:
            document = await self._get(upstream, "/models", headers, context) or {}
        except Operational as error:
            _log.warning("models_not_listed", upstream=upstream.name, reason=error.message)
            return None
        models = document.get("data")
        if not isinstance(models, list):
            _log.warning("models_not_listed", upstream=upstream.name, reason="it did not answer with a list")
            return None
        return [
            model
            for model in models
            if isinstance(model, dict) and isinstance(model.get("id"), str) and upstream.serves(model["id"])
        ]

    async def _get(
        self, upstream: Upstream, path: str, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> dict[str, Any] | None:
        """Return the JSON object at *path*, None for a 404.

        Raises UpstreamRejectedCredential, or UpstreamUnreachable for every other way not to get it.
        """
        unreachable = UpstreamUnreachable(f"The upstream '{upstream.name}' cannot say which models it has right now.")
        try:
            async with asyncio.timeout(_MODELS_TIMEOUT_SECONDS):
                with await self.send(upstream, "GET", path, headers=headers, context=context) as answer:
                    if answer.status in UPSTREAM_CREDENTIAL_STATUSES:
                        raise UpstreamRejectedCredential(upstream.name)
                    if answer.status == HTTPStatus.NOT_FOUND:
                        return None
                    document = orjson.loads(await answer.read_all())
        except (UpstreamFailed, TimeoutError, orjson.JSONDecodeError) as error:
            raise unreachable from error
        if answer.status != HTTPStatus.OK or not isinstance(document, dict):
            raise unreachable
        return document
