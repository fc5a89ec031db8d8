"""Who answers: plans where a call goes and sends it there."""

import asyncio
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
from yarl import URL

from app.errors import ModelNotFound, NoUpstream, UpstreamUnreachable
from app.observability.context import CallContext
from app.observability.tracing import Tracer
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.client import UpstreamClient
from app.upstreams.failure import UpstreamFailed
from app.upstreams.headers import to_upstream
from app.upstreams.routing import Plan, Upstream, plan

_log: Final = structlog.get_logger()


class UpstreamService:
    """The configured upstreams, in order of preference."""

    def __init__(self, client: UpstreamClient, upstreams: Sequence[Upstream], tracer: Tracer) -> None:
        self._client = client
        self._tracer = tracer
        self._upstreams = tuple(upstreams)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Return the configured upstreams."""
        return self._upstreams

    def plan(self, model: str) -> Plan:
        """Return where a call for *model* goes; raises NoUpstream or ModelNotFound."""
        found = plan(self._upstreams, model)
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

    async def list_models(self, headers: Iterable[tuple[bytes, bytes]], context: CallContext) -> list[dict[str, Any]]:
        """Return the model objects of every upstream that answers, as far as Weir sends calls for them there.

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
        return list(merged.values())

    async def get_model(
        self, model: str, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> dict[str, Any]:
        """Return the object of one model from the upstream that serves it.

        Raises ModelNotFound, NoUpstream, or UpstreamUnreachable.
        """
        upstream = self.plan(model).upstream
        path = f"/models/{quote(model, safe='')}"
        status, document = await self._get_json(upstream, path, headers, context)
        if status == HTTPStatus.NOT_FOUND:
            raise ModelNotFound(model)
        if status != HTTPStatus.OK or not isinstance(document, dict):
            raise UpstreamUnreachable(f"The upstream '{upstream.name}' cannot describe this model right now.")
        return dict(document)

    async def _list_one(
        self, upstream: Upstream, headers: tuple[tuple[bytes, bytes], ...], context: CallContext
    ) -> list[dict[str, Any]] | None:
        try:
            status, document = await self._get_json(upstream, "/models", headers, context)
        except UpstreamUnreachable as error:
            _log.warning("models_not_listed", upstream=upstream.name, reason=error.message)
            return None
        models = document.get("data") if isinstance(document, dict) else None
        if status != HTTPStatus.OK or not isinstance(models, list):
            _log.warning("models_not_listed", upstream=upstream.name, status=status)
            return None
        return [
            model
            for model in models
            if isinstance(model, dict) and isinstance(model.get("id"), str) and upstream.serves(model["id"])
        ]

    async def _get_json(
        self, upstream: Upstream, path: str, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> tuple[int, Any]:
        try:
            with await self.send(upstream, "GET", path, headers=headers, context=context) as answer:
                return answer.status, orjson.loads(await answer.read_all())
        except (UpstreamFailed, orjson.JSONDecodeError) as error:
            raise UpstreamUnreachable(f"The upstream '{upstream.name}' did not answer.") from error
