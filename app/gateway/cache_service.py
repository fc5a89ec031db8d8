"""Answers a call with what was answered to the very same one before: nothing is sent, reserved or charged.

A hit counts as one request in its limits, and has a receipt of its own that says what it was. Of calls that ask at the
same time for what is not kept yet, each is sent.
"""

from http import HTTPStatus
from typing import Final, NamedTuple

from app.answers.answer import KeptAnswer
from app.answers.policy_service import CachePolicyService
from app.answers.service import AnswerService
from app.core.clock import Clock, monotonic_seconds
from app.core.ids import new_uuid7
from app.core.money import Nano
from app.gateway.answer import Answer, Inbound
from app.gateway.caching import HEADER, Wish, is_keepable, is_repeatable, kept_headers, read_wish
from app.gateway.limit_demand import shows, used
from app.gateway.operations.operation import MeteredRequest, Operation
from app.keys.caller import Caller
from app.ledger.entries import Entry
from app.ledger.service import LedgerService
from app.limits.lease import Lease
from app.limits.service import LimitService
from app.observability.context import CallContext
from app.prices.usage import Usage
from app.settings import Settings

_NOTHING: Final = Nano(0)
_CHANGES_ANSWERS: Final = "openai-beta"


class Shelf(NamedTuple):
    """Where the answer to one call is, or may be, kept."""

    name: str | None
    """None: nowhere, as it is not meant to be the same each time, or not meant to be kept."""
    wish: Wish


class AnswerCache:
    """Looks for answers, and keeps them."""

    def __init__(
        self,
        answers: AnswerService,
        policies: CachePolicyService,
        ledger: LedgerService,
        limits: LimitService,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._answers = answers
        self._policies = policies
        self._ledger = ledger
        self._limits = limits
        self._settings = settings.cache
        self._clock = clock

    def shelf_of(self, caller: Caller, operation: Operation, request: MeteredRequest, inbound: Inbound) -> Shelf | None:
        """Return where the answer to a call is kept, None where nobody asks for that; raises InvalidRequest."""
        project_id = caller.project_id or ""
        wish = read_wish(inbound, self._policies.of(project_id), self._settings)
        if wish is None:
            return None
        # An idempotency key promises one call an answer of its own.
        if inbound.fields.get("idempotency-key") is not None or not is_repeatable(operation, request):
            return Shelf(None, wish)
        asked = (project_id, operation.name, inbound.query, *inbound.values(_CHANGES_ANSWERS))
        name = self._answers.name(request.body, *(part.encode(errors="surrogateescape") for part in asked))
        return Shelf(name if wish.keeps else None, wish)

    async def find(
        self, shelf: Shelf, caller: Caller, request: MeteredRequest, context: CallContext, lease: Lease | None
    ) -> Answer | None:
        """Return the answer that is kept for a call, its place in the limits ended and its receipt on its way."""
        if shelf.name is None or shelf.wish.age_seconds_max == 0:
            return None
        found = await self._answers.find(shelf.name)
        if found is None or found[1] > shelf.wish.age_seconds_max:
            return None
        kept, age_seconds = found
        gateway_seconds = monotonic_seconds() - context.started_seconds
        self._ledger.append(self._entry(caller, request, context, gateway_seconds))
        self._limits.adjust(lease, used(Usage()))
        context.outcome, context.cost_nano = "cached", _NOTHING
        own = [
            (b"age", b"%d" % age_seconds),
            (HEADER.encode(), b"hit"),
            (b"x-weir-cost-usd", b"0"),
            (b"server-timing", b"gateway;dur=%.1f" % (gateway_seconds * 1_000)),
        ]
        return shows(Answer(HTTPStatus.OK, [*kept.headers, *own], kept.body), lease)

    async def keep(self, shelf: Shelf, answer: Answer, outcome: str | None) -> Answer:
        """Return *answer*, to a call that ended with *outcome*, and keep it if it is one to be kept."""
        if shelf.name is None:
            answer.headers.append((HEADER.encode(), b"bypass"))
            return answer
        is_kept = False
        if is_keepable(answer, outcome) and isinstance(answer.body, bytes):
            headers = kept_headers(answer, answer.body)
            is_kept = await self._answers.keep(shelf.name, KeptAnswer(headers, answer.body, shelf.wish.ttl_seconds))
            answer.headers[:] = [*answer.headers, *(header for header in headers if header not in answer.headers)]
        answer.headers.append((HEADER.encode(), b"stored" if is_kept else b"miss"))
        return answer

    def _entry(self, caller: Caller, request: MeteredRequest, context: CallContext, gateway_seconds: float) -> Entry:
        now = self._clock()
        return Entry(
            id=new_uuid7(int(now.timestamp() * 1_000)),
            settled_at=now,
            request_id=context.request_id,
            project_id=caller.project_id or "",
            user_id=caller.user_id,
            key_id=caller.key_id,
            operation=context.operation or "",
            upstream="",
            upstream_request_id=None,
            model=request.model,
            answered_model=None,
            service_tier=None,
            streamed=False,
            status=HTTPStatus.OK,
            ending="released",
            outcome="cached",
            input_tokens=0,
            cached_input_tokens=0,
            cache_write_tokens=0,
            input_audio_tokens=0,
            output_tokens=0,
            reasoning_tokens=0,
            output_audio_tokens=0,
            other_units=None,
            cost_nano=_NOTHING,
            ceiling_nano=_NOTHING,
            price_id=None,
            flags=(),
            started_at=now,
            first_byte_us=None,
            upstream_us=0,
            gateway_us=int(gateway_seconds * 1_000_000),
        )
