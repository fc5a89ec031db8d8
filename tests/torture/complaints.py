"""What a client may complain of: answers that are not documented, or that are not what happened. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from tests.torture.charge import Charge
from tests.torture.evidence import Seen

_STATUS_OF_CODE = {
    "insufficient_quota": 429,
    "budget_reserved": 429,
    "service_unavailable": 503,
    "upstream_unavailable": 503,
    "upstream_unreachable": 502,
    "upstream_invalid_response": 502,
    "upstream_authentication_failed": 502,
    "upstream_timeout": 504,
    "idempotency_key_in_use": 409,
}
"""Every error that Weir may answer in a run."""
_UNAVAILABLE = frozenset({"service_unavailable", "upstream_unavailable"})
_NEVER_SENT = _UNAVAILABLE | {"insufficient_quota", "budget_reserved", "idempotency_key_in_use"}
_RETRIED = frozenset({"budget_reserved", "idempotency_key_in_use"})


def complaints(seen: Seen, charge: Charge | None, was_served: bool) -> Iterator[tuple[str, str]]:
    """Yield (promise, what was seen instead) for one request, its charge, and whether it reached the upstream."""
    yield from _of_the_answer(seen)
    if seen.code in _NEVER_SENT:
        if was_served:
            yield "a call that is refused is not sent", f"{seen.code}, and the simulator served it"
        if charge is not None and charge.last.ending != "orphaned":
            yield "a call that is refused is not charged", f"{seen.code}, and it is {charge.last.ending}"
    if seen.is_replayed and (was_served or charge is not None):
        yield "a repeated answer costs nothing", f"served: {was_served}, charged: {charge is not None}"
    if seen.usage is not None and not seen.is_replayed:
        yield from _of_the_usage(seen, charge)
    if (told := seen.headers.get("x-weir-cost-usd")) and charge is not None and charge.last.ending != "orphaned":
        told_nano = int(Decimal(told) * 1_000_000_000)
        if told_nano != charge.cost_nano:
            yield "the cost that is told is the cost", f"told {told_nano}, charged {charge.cost_nano}"


def _of_the_answer(seen: Seen) -> Iterator[tuple[str, str]]:
    if seen.is_cut_silently:
        yield "a broken stream says so", "it ended without [DONE] and without an error"
    if seen.code in _STATUS_OF_CODE and seen.status not in (200, _STATUS_OF_CODE[seen.code]):
        yield "answers are documented", f"{seen.status} {seen.code}"
    is_error = seen.fate == "answered" and seen.status is not None and seen.status >= 400
    if seen.code == "internal_error" or (is_error and not seen.is_scripted_error and seen.code not in _STATUS_OF_CODE):
        yield "answers are documented", f"{seen.status} {seen.code}"
    headers = seen.headers
    if seen.code == "insufficient_quota" and headers.get("x-should-retry") != "false":
        yield "a spent budget says that trying again is no use", f"x-should-retry: {headers.get('x-should-retry')}"
    if seen.code == "budget_reserved" and headers.get("x-should-retry") != "true":
        yield "a held budget says that trying again helps", f"x-should-retry: {headers.get('x-should-retry')}"
    if seen.code in _RETRIED and not headers.get("retry-after-ms", "").isdigit():
        yield "who is to try again is told when", f"{seen.code}: {headers}"
    if seen.code in _UNAVAILABLE and "retry-after" not in headers:
        yield "an unavailable Weir says when to try again", f"{headers}"


def _of_the_usage(seen: Seen, charge: Charge | None) -> Iterator[tuple[str, str]]:
    if charge is None:
        yield "every answered call is in the ledger", f"answered with usage {seen.usage}, and not there"
    elif charge.call is not None and seen.usage != (charge.call.prompt_tokens, charge.call.completion_tokens):
        yield "usage is what the upstream said", f"{seen.usage}, and it was {charge.call}"


def complaints_about_keys(seen: Iterable[Seen], charges: Mapping[str, Charge]) -> Iterator[tuple[str, str]]:
    """Yield the same for requests that share an idempotency key: one whole answer, and one charge for it.

    Only where no process died with the answer: an orphan's key is free again, and its charge is flagged.
    """
    groups: defaultdict[str, list[Seen]] = defaultdict(list)
    for each in seen:
        if each.idempotency_key is not None:
            groups[each.idempotency_key].append(each)
    for key, group in groups.items():
        charged = [charges[each.request_id] for each in group if each.request_id in charges]
        if any("orphaned" in charge.flags for charge in charged):
            continue
        whole = [charge.last.request_id for charge in charged if charge.last.outcome in ("completed", "no_usage")]
        if len(whole) > 1:
            yield "one idempotency key, one charge", f"{key}: {whole}"
        answers = {each.digest for each in group if each.status == 200 and each.digest}
        if len(answers) > 1:
            yield "one idempotency key, one answer", f"{key}: {[each.request_id for each in group]}"
