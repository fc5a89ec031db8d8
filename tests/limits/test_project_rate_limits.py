"""OpenAI's rate limits of projects with OpenAI's own SDK: a view of the limits that callers meet."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from app.limits.project_limits import NO_LIMIT
from app.projects.service import DEFAULT_PROJECT_ID as PROJECT
from tests.fixtures.weir import RunningWeir
from tests.limits.making import BODY, make


def admin(weir: RunningWeir) -> AsyncOpenAI:
    return weir.openai(api_key=weir.api_key, admin_api_key=weir.admin_key, _strict_response_validation=True)


async def test_a_limit_that_is_set_with_the_sdk_is_met_by_a_call(weir: RunningWeir) -> None:
    async with admin(weir) as client:
        limits = client.admin.organization.projects.rate_limits
        shown = [limit async for limit in limits.list_rate_limits(PROJECT)]
        of_model = next(limit for limit in shown if limit.model == BODY["model"])
        assert of_model.max_requests_per_1_minute == NO_LIMIT
        updated = await limits.update_rate_limit(
            of_model.id, project_id=PROJECT, max_requests_per_1_minute=1, max_tokens_per_1_minute=5_000
        )
        assert updated == of_model.model_copy(update={"max_requests_per_1_minute": 1, "max_tokens_per_1_minute": 5_000})
        raw = await client.chat.completions.with_raw_response.create(**BODY)  # type: ignore[call-overload]
        assert raw.headers["x-ratelimit-limit-tokens"] == "5000"
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**BODY)  # type: ignore[call-overload]
        await limits.update_rate_limit(of_model.id, project_id=PROJECT, max_requests_per_1_minute=NO_LIMIT)
        await client.chat.completions.create(**BODY)  # type: ignore[call-overload]
    rows = await weir.sql("SELECT resource_id, project_id FROM audit_entries WHERE event = 'rate_limit.updated'")
    assert [tuple(row) for row in rows] == [(of_model.id, PROJECT)] * 2


async def test_every_number_can_be_set_and_changed_and_is_an_ordinary_limit(weir: RunningWeir) -> None:
    numbers: dict[str, Any] = {
        "batch_1_day_max_input_tokens": 1,
        "max_audio_megabytes_per_1_minute": 2,
        "max_images_per_1_minute": 3,
        "max_requests_per_1_day": 4,
        "max_requests_per_1_minute": 5,
        "max_tokens_per_1_minute": 6,
    }
    tens: dict[str, Any] = dict.fromkeys(numbers, 10)
    async with admin(weir) as client:
        limits = client.admin.organization.projects.rate_limits
        await limits.update_rate_limit("rl-*", project_id=PROJECT, **tens)
        updated = await limits.update_rate_limit("rl-*", project_id=PROJECT, **numbers)
    assert updated.model_dump(exclude={"id", "object"}) == {"model": "*", **numbers}
    rows = await weir.sql("SELECT counts, per, maximum FROM limits WHERE scope_id = $1 ORDER BY maximum", PROJECT)
    assert [tuple(row) for row in rows] == [
        ("batch_input_tokens", "day", 1),
        ("audio_megabytes", "minute", 2),
        ("images", "minute", 3),
        ("requests", "day", 4),
        ("requests", "minute", 5),
        ("tokens", "minute", 6),
    ]


async def test_a_limit_for_each_project_is_shown_until_the_project_has_its_own(weir: RunningWeir) -> None:
    await make(weir, scope="project", maximum=60)
    await make(weir, scope="project", scope_id=PROJECT, counts="tokens", maximum=7, mode="shadow")
    async with admin(weir) as client:
        limits = client.admin.organization.projects.rate_limits
        page = await limits.list_rate_limits(PROJECT, limit=1)
        assert (page.data[0].id, page.data[0].max_requests_per_1_minute) == ("rl-*", 60)
        assert page.data[0].max_tokens_per_1_minute == NO_LIMIT
        updated = await limits.update_rate_limit("rl-*", project_id=PROJECT, max_requests_per_1_minute=70)
        assert updated.max_requests_per_1_minute == 70


async def test_a_model_may_have_any_name(weir: RunningWeir) -> None:
    async with admin(weir) as client:
        limits = client.admin.organization.projects.rate_limits
        name = "rl-organization/model:tag-é*"
        updated = await limits.update_rate_limit(name, project_id=PROJECT, max_requests_per_1_minute=3)
        assert updated.id == name
        shown = [limit.id async for limit in limits.list_rate_limits(PROJECT, limit=100)]
    assert name in shown
    assert shown[0] == "rl-*"
    assert shown == ["rl-*", *sorted(shown[1:])]
    assert len(shown) > 100


async def test_pages_can_be_turned_in_both_directions(weir: RunningWeir) -> None:
    async with admin(weir) as client:
        limits = client.admin.organization.projects.rate_limits
        everything = [limit.id async for limit in limits.list_rate_limits(PROJECT)]
        first = await limits.list_rate_limits(PROJECT, limit=2)
        second = await limits.list_rate_limits(PROJECT, limit=2, after=first.last_id or "")
        back = await limits.list_rate_limits(PROJECT, limit=1, before=second.data[1].id)
        between = await limits.list_rate_limits(PROJECT, after=everything[0], before=everything[3])
        last = await limits.list_rate_limits(PROJECT, after=everything[-1])
    assert [limit.id for limit in first.data + second.data] == everything[:4]
    assert [limit.id for limit in back.data] == [everything[2]]
    assert [limit.id for limit in between.data] == everything[1:3]
    assert (first.has_more, back.has_more, last.data, last.has_more) == (True, True, [], False)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("proj_unknown/rate_limits/rl-*", {}, 404, "project_id"),
        (f"{PROJECT}/rate_limits/rl-", {}, 404, "rate_limit_id"),
        (f"{PROJECT}/rate_limits/gpt-4o", {}, 404, "rate_limit_id"),
        (f"{PROJECT}/rate_limits/rl-{'x' * 257}", {}, 404, "rate_limit_id"),
        (f"{PROJECT}/rate_limits/rl-a%07b", {}, 404, "rate_limit_id"),
        (f"{PROJECT}/rate_limits/rl-*", {"max_requests_per_1_minute": -1}, 400, "max_requests_per_1_minute"),
        (f"{PROJECT}/rate_limits/rl-*", {"project_id": "other"}, 400, "project_id"),
    ],
)
async def test_what_cannot_be_set_is_refused(
    weir: RunningWeir, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    async with weir.http(weir.admin_key) as client:
        answer = await client.post(f"/v1/organization/projects/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert await weir.sql("SELECT 1 FROM limits") == []


@pytest.mark.parametrize(
    ("query", "status"), [("after=gpt-4o", 400), ("before=x", 400), ("limit=0", 400), ("limit=101", 400)]
)
async def test_a_list_that_cannot_be_is_refused(weir: RunningWeir, query: str, status: int) -> None:
    async with weir.http(weir.admin_key) as client:
        answer = await client.get(f"/v1/organization/projects/{PROJECT}/rate_limits?{query}")
    assert answer.status_code == status


async def test_rate_limits_of_an_unknown_project_are_not_found(weir: RunningWeir) -> None:
    async with weir.http(weir.admin_key) as client:
        answer = await client.get("/v1/organization/projects/proj_unknown/rate_limits")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
