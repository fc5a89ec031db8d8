"""Who answers: plans where a call goes and sends it there."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from random import random
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import orjson
import structlog
from yarl import URL

from app.core.clock import monotonic_seconds
from app.errors import (
    ModelNotFound,
    NoUpstream,
    Operational,
    UpstreamRejectedCredential,
    UpstreamUnreachable,
    WeirError,
)
from app.keys.caller import Caller
from app.observability.context import CallContext
from app.observability.tracing import Tracer
from app.upstreams.answer import UpstreamAnswer
from app.upstreams.body import Body
from app.upstreams.client import UpstreamClient
from app.upstreams.directory import Directory
from app.upstreams.failure import UPSTREAM_CREDENTIAL_STATUSES, UpstreamFailed
from app.upstreams.headers import to_upstream
from app.upstreams.health import Health
from app.upstreams.model_list import alias_object, named
from app.upstreams.providers.registry import address, credential_headers
from app.upstreams.retry_budget import repeats_silently
from app.upstreams.routing import Plan, Target, Upstream
from app.upstreams.ticket import Ticket
from app.upstreams.tries import Tries, TryRules, nowhere

_log: Final = structlog.get_logger()
# One upstream that hangs must not keep the models of the others from being listed.
_MODELS_TIMEOUT_SECONDS: Final = 10.0
# Signs that a name in a path may have as they are (RFC 3986, section 3.3): OpenAI's SDKs spell `ft:gpt-4o` so.
_PLAIN_SIGNS: Final = "!$&'()*+,;=:@"


class CallRules(NamedTuple):
    """What every call may do, and what is known of where it may go."""

    health: Health
    attempts_max: int
    total_timeout_seconds: float
    fallback_models: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class _Request:
    method: str
    url: str
    headers: Iterable[tuple[bytes, bytes]]
    body: Body
    has_alternative: bool = False


class UpstreamService:
    """Sends to the upstreams of a directory, which may be replaced at any moment."""

    def __init__(
        self,
        client: UpstreamClient,
        directory: Directory,
        tracer: Tracer,
        allows: Callable[[Caller, str], bool],
        calls: CallRules,
    ) -> None:
        self._client = client
        self._allows = allows
        self._tracer = tracer
        self._directory = directory
        self._calls = calls

    def plan_for(self, caller: Caller, model: str, tool_models: Sequence[str] = ()) -> Plan:
        """Return where a call of *caller* may go, whose tools work with *tool_models*.

        A model that is not for it is as unknown as one that is not there.
        """
        for each in (model, *tool_models):
            if not self._allows(caller, each):
                raise ModelNotFound(each)
        return self.plan(model, lambda other: self._allows(caller, other))

    def plan(self, model: str, allows: Callable[[str], bool] = lambda _: True) -> Plan:
        """Return where a call for *model* may go, also to the models that may stand in for it if *allows* has them.

        Raises NoUpstream or ModelNotFound.
        """
        found = self._directory.plan((model, *filter(allows, self._calls.fallback_models.get(model, ()))))
        if found is not None:
            return found
        if all(upstream.name == "simulator" for upstream in self._directory.upstreams):
            raise NoUpstream(
                f"No upstream is configured for the model '{model}'. Set OPENAI_API_KEY and start Weir again, or add "
                "an upstream at /v1/gateway/upstreams; until then only models of the built-in simulator, such as "
                "'sim-small', answer."
            )
        raise ModelNotFound(model)

    def current(self, upstream: Upstream) -> Upstream:
        """Return *upstream* as it is configured by now, with its credential; as it was, if it is not there any more."""
        place = (upstream.name, upstream.base_url)
        return next((each for each in self._directory.upstreams if (each.name, each.base_url) == place), upstream)

    def forget_failures(self) -> None:
        """Believe every upstream to be well, as after a start."""
        self._calls.health.keep(())

    def tries(
        self,
        plan: Plan,
        sdk_retry_count: str | None,
        read_timeout_seconds: str | None = None,
        user_agent: str | None = None,
    ) -> Tries:
        """Return the way of one call through *plan*, which nobody has gone yet.

        What its SDK says in `x-stainless-retry-count` and `x-stainless-read-timeout` is given as it came.
        """
        # Python refuses to read numbers of thousands of digits.
        count = int(sdk_retry_count[:9]) if sdk_retry_count and sdk_retry_count.isdecimal() else None
        if count is None and repeats_silently(user_agent or ""):
            count = 1
        within = self._calls.total_timeout_seconds
        if read_timeout_seconds and read_timeout_seconds.replace(".", "", 1).isdecimal():
            within = min(within, float(read_timeout_seconds))
        rules = TryRules(self._calls.attempts_max, count, monotonic_seconds() + within)
        return Tries(plan, self._calls.health, rules, random)

    def begin(self, tries: Tries) -> tuple[Target, Ticket]:
        """Return where a call is sent first; raises UpstreamUnavailable or UpstreamBusy when there is nowhere to."""
        now = monotonic_seconds()
        begun = tries.begin(now)
        if begun is not None:
            return begun
        raise nowhere(tries.order(now), now)

    def look(self, plan: Plan) -> tuple[Target, Operational | None]:
        """Return where in *plan* a call would be sent first now, and the error that it would get if nowhere."""
        now = monotonic_seconds()
        found = self.tries(plan, None).order(now)
        return (found.targets[0], None) if found.targets else (plan.targets[0], nowhere(found, now))

    def call(
        self,
        target: Target,
        path: str,
        *,
        headers: Iterable[tuple[bytes, bytes]],
        context: CallContext,
        body: bytes,
        has_alternative: bool,
    ) -> Coroutine[Any, Any, UpstreamAnswer]:
        """Send a call of a model, with *body*, to *path* at the upstream of *target*; raises UpstreamFailed.

        With an alternative, a connection that does not come is given up soon.
        """
        url = address(target.upstream, path, target.sent_model)
        request = _Request("POST", url, headers, body, has_alternative)
        return self._send(target.upstream, request, context)

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        *,
        headers: Iterable[tuple[bytes, bytes]],
        context: CallContext,
        body: Body = None,
    ) -> UpstreamAnswer:
        """Send one request to *path* below the upstream's address; raises UpstreamFailed.

        A body that comes in pieces is as long as the caller's *headers* say, if they do.
        """
        return await self._send(upstream, _Request(method, address(upstream, path), headers, body), context)

    async def _send(self, upstream: Upstream, request: _Request, context: CallContext) -> UpstreamAnswer:
        with self._tracer.upstream(context, upstream.name) as span:
            outgoing = to_upstream(request.headers, credential_headers(upstream), context.request_id)
            self._tracer.inject(span, outgoing)
            if request.body is not None and not isinstance(request.body, bytes):
                outgoing.extend(
                    ("content-length", value.decode()) for name, value in request.headers if name == b"content-length"
                )
            return await self._client.send(
                request.method,
                URL(request.url, encoded=True),
                outgoing,
                request.body,
                upstream.timeouts,
                has_alternative=request.has_alternative,
            )

    async def list_models(
        self, caller: Caller, headers: Iterable[tuple[bytes, bytes]], context: CallContext
    ) -> list[dict[str, Any]]:
        """Return the model objects of every upstream that answers, as far as *caller*'s calls for them are sent there.

        Raises UpstreamUnreachable when none answers.
        """
        raw = tuple(headers)
        lists = await asyncio.gather(
            *(self._list_one(upstream, raw, context) for upstream in self._directory.upstreams)
        )
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
        """Return the object of one model from the first upstream that has it.

        Raises ModelNotFound, NoUpstream, UpstreamUnreachable, or UpstreamRejectedCredential.
        """
        if not model.strip("."):  # "", "." and ".." are no names but other places: the list, and what is above it
            raise ModelNotFound(model)
        raw = tuple(headers)
        missed: WeirError = ModelNotFound(model)
        for target in self.plan_for(caller, model).targets:
            if target.model != model:
                break
            try:
                name = quote(target.sent_model, safe=_PLAIN_SIGNS)
                document = await self._get(target.upstream, f"/models/{name}", raw, context)
            except Operational as error:
                missed = error
                continue
            if model in target.upstream.aliases:
                return alias_object(target.upstream, model, document)
            if document is not None:
                return document
        raise missed

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
        return named(upstream, models)

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
