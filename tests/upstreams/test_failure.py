"""The table of what is retried where, row by row as it was asked for."""

from typing import get_args

import pytest

from app.upstreams.failure import VERDICTS, Failure, of_answer, of_failure


@pytest.mark.parametrize(
    ("failure", "elsewhere", "again", "counts", "may_be_billed"),
    [
        ("not_sent", True, True, "silent", False),
        ("no_room", False, False, "not_asked", False),
        ("lost", True, True, "failed", True),
        ("timed_out", True, False, "silent", True),
        ("nonsense", False, False, "failed", True),
    ],
)
def test_an_attempt_without_an_answer_is_judged_as_the_table_says(
    failure: Failure, elsewhere: bool, again: bool, counts: str, may_be_billed: bool
) -> None:
    assert of_failure(failure)[2:] == (elsewhere, again, counts, may_be_billed)


@pytest.mark.parametrize("failure", get_args(Failure))
def test_after_the_head_of_an_answer_nothing_is_retried(failure: Failure) -> None:
    verdict = of_failure(failure, is_after_head=True)

    assert not verdict.elsewhere
    assert not verdict.again
    assert verdict.counts == "failed"
    assert verdict.may_be_billed


@pytest.mark.parametrize(
    ("status", "code", "retry_after_seconds", "name", "elsewhere", "again", "counts"),
    [
        (100, None, None, "redirect", True, False, "failed"),
        (302, None, None, "redirect", True, False, "failed"),
        (400, None, None, "callers_fault", False, False, "well"),
        (401, None, None, "credential", True, False, "failed"),
        (402, None, None, "no_quota", True, False, "cool_down"),
        (403, None, None, "credential", True, False, "failed"),
        (404, "model_not_found", None, "not_found", True, False, "nothing"),
        (408, None, None, "request_timeout", True, True, "failed"),
        (409, None, None, "conflict", False, True, "well"),
        (413, None, None, "callers_fault", False, False, "well"),
        (422, None, None, "callers_fault", False, False, "well"),
        (429, "rate_limit_exceeded", None, "rate_limited", True, True, "cool_down"),
        (429, "rate_limit_exceeded", 5.0, "rate_limited", True, True, "cool_down"),
        (429, "rate_limit_exceeded", 5.1, "rate_limited", True, False, "cool_down"),
        (429, "insufficient_quota", 1.0, "no_quota", True, False, "cool_down"),
        (500, None, None, "server_error", True, True, "failed"),
        (502, None, 1.0, "server_error", True, True, "failed"),
        (503, None, None, "server_error", True, True, "failed"),
        (503, None, 1.0, "overloaded", True, True, "cool_down"),
        (503, None, 60.0, "overloaded", True, False, "cool_down"),
        (529, None, None, "server_error", True, True, "failed"),
        (529, None, 2.0, "overloaded", True, True, "cool_down"),
        (599, None, None, "server_error", True, True, "failed"),
    ],
)
def test_an_answer_is_judged_as_the_table_says(
    status: int,
    code: str | None,
    retry_after_seconds: float | None,
    name: str,
    elsewhere: bool,
    again: bool,
    counts: str,
) -> None:
    verdict = of_answer(status, code, retry_after_seconds)

    assert verdict is not None
    assert (verdict.name, verdict.elsewhere, verdict.again, verdict.counts) == (name, elsewhere, again, counts)
    assert not verdict.may_be_billed


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_good_answer_is_no_failure(status: int) -> None:
    assert of_answer(status) is None


def test_an_upstream_that_wants_no_retry_gets_none() -> None:
    refused = of_answer(500, should_retry=False)

    assert refused is not None
    assert (refused.elsewhere, refused.again) == (True, False)
    assert of_answer(500, should_retry=True) == of_answer(500)
    assert of_answer(400, should_retry=True) == of_answer(400)


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_a_verdict_from_the_table_or_is_good(status: int) -> None:
    for retry_after_seconds in (None, 0.0, 1.0, 100.0):
        verdict = of_answer(status, None, retry_after_seconds)
        assert (verdict is None) if 200 <= status <= 299 else (verdict in VERDICTS)
        if 400 <= status <= 499 and status not in (401, 402, 403, 404, 408, 409, 429):
            assert verdict is not None
            assert not verdict.elsewhere
            assert not verdict.again


def test_what_may_be_billed_and_has_begun_is_never_sent_twice() -> None:
    begun = [verdict for verdict in VERDICTS if verdict.name in ("broken_off", "nonsense")]

    assert len(begun) == 2
    assert not any(verdict.elsewhere or verdict.again for verdict in begun)
