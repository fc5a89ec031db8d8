"""What an administrator's scripts do, with nothing but methods of the official SDK: as they are written for OpenAI."""

import asyncio
import time
from typing import Any, Final

import openai
import pytest
from openai import OpenAI

from app.projects.service import DEFAULT_PROJECT_ID
from tests.embedded.probes import eventually
from tests.fixtures.weir import RunningWeir

HELLO: Final[list[Any]] = [{"role": "user", "content": "Say hello."}]
DAY_SECONDS: Final = 86_400


def client_of(
    weir: RunningWeir, api_key: str = "none", admin_api_key: str | None = None, *, is_strict: bool = True
) -> OpenAI:
    """A client that raises what it is told at once, and wants answers to be exactly as OpenAI's."""
    return OpenAI(
        base_url=f"{weir.base_url}/v1",
        api_key=api_key,
        admin_api_key=admin_api_key or weir.admin_key,
        max_retries=0,
        _strict_response_validation=is_strict,
    )


def onboard_a_team(weir: RunningWeir) -> None:
    """A team gets a project, a program and its key, limits; it calls, is limited, and its key is replaced."""
    began_at = int(time.time()) - 60
    with client_of(weir) as client:
        organization: Any = client.admin.organization
        project = organization.projects.create(name="Research")
        assert organization.projects.retrieve(project.id).name == "Research"
        assert project.id in [each.id for each in organization.projects.list(limit=1)]
        account = organization.projects.service_accounts.create(project.id, name="Nightly report")
        assert account.api_key is not None
        organization.projects.rate_limits.update_rate_limit(
            "rl-gpt-4o-mini",
            project_id=project.id,
            max_requests_per_1_minute=2,
            max_tokens_per_1_minute=100_000,
            max_images_per_1_minute=5,
            max_audio_megabytes_per_1_minute=7,
            max_requests_per_1_day=1_000,
            batch_1_day_max_input_tokens=50_000,
        )
        limits = {each.id: each for each in organization.projects.rate_limits.list_rate_limits(project.id)}
        limit = limits["rl-gpt-4o-mini"]
        assert (limit.model, limit.max_requests_per_1_minute) == ("gpt-4o-mini", 2)
        assert (limit.max_images_per_1_minute, limit.max_audio_megabytes_per_1_minute) == (5, 7)
        assert (limit.max_requests_per_1_day, limit.batch_1_day_max_input_tokens) == (1_000, 50_000)

        with client_of(weir, account.api_key.value, account.api_key.value) as program:
            answers = [
                program.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20)
                for _ in range(2)
            ]
            assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0"]
            with pytest.raises(openai.RateLimitError) as limited:
                program.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
            assert limited.value.code == "rate_limit_exceeded"
            assert float(limited.value.response.headers["retry-after"]) > 0
            with pytest.raises(openai.PermissionDeniedError):
                program.admin.organization.projects.list()

        # The key is replaced: both work for a while, then the old one is revoked.
        organization.projects.rate_limits.update_rate_limit(
            "rl-gpt-4o-mini", project_id=project.id, max_requests_per_1_minute=100
        )
        new_key = organization.projects.service_accounts.api_keys.create(
            account.id, project_id=project.id, name="second key", expires_in_seconds=30 * DAY_SECONDS
        )
        keys = list(organization.projects.api_keys.list(project.id, limit=1, owner_project_access="active"))
        assert [key.id for key in keys] == [account.api_key.id, new_key.id]
        for value in (account.api_key.value, new_key.value):
            with client_of(weir, api_key=value) as program:
                program.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20)
        assert organization.projects.api_keys.delete(account.api_key.id, project_id=project.id).deleted
        with client_of(weir, api_key=account.api_key.value) as program, pytest.raises(openai.AuthenticationError):
            program.models.list()
        with client_of(weir, api_key=new_key.value) as program:
            assert program.models.list().data

        def calls_by_key() -> dict[str, int]:
            usage = organization.usage.completions(
                start_time=began_at, project_ids=[project.id], group_by=["model", "api_key_id"], bucket_width="1d"
            )
            results: list[Any] = [result for bucket in usage.data for result in bucket.results]
            return {result.api_key_id: result.num_model_requests for result in results}

        # The last call is settled beside its answer.
        assert eventually(lambda: calls_by_key() == {account.api_key.id: 3, new_key.id: 1})
        costs = organization.usage.costs(start_time=began_at, project_ids=[project.id], group_by=["line_item"])
        results: list[Any] = [result for bucket in costs.data for result in bucket.results]
        assert results
        assert all(result.amount.value > 0 for result in results)

        told = organization.audit_logs.list(project_ids=[project.id], effective_at={"gte": began_at})
        assert [entry.type for entry in told][::-1] == [
            "project.created",
            "api_key.created",
            "service_account.created",
            "rate_limit.updated",
            "rate_limit.updated",
            "api_key.created",
            "api_key.deleted",
        ]


def keep_a_project_in_order(weir: RunningWeir) -> None:
    """An administrator of many projects: people, models, budgets, keys by their owners, who did what, and an end."""
    began_at = int(time.time()) - 60
    with client_of(weir) as client:
        organization: Any = client.admin.organization
        default = organization.projects.retrieve(DEFAULT_PROJECT_ID)
        assert default.status == "active"
        project = organization.projects.create(name="Trial")
        project = organization.projects.update(project.id, name="Trial 2")
        assert project.name == "Trial 2"
        invite = organization.invites.create(
            email="ada@example.com", role="reader", projects=[{"id": project.id, "role": "member"}]
        )
        assert [each.email for each in organization.invites.list()] == ["ada@example.com"]
        assert organization.invites.delete(invite.id).deleted

        owner = organization.admin_api_keys.create(name="Terraform", expires_in_seconds=3_600)
        with client_of(weir, admin_api_key=owner.value) as terraform:
            permissions = terraform.admin.organization.projects.model_permissions
            permissions.update(project.id, mode="allow_list", model_ids=["gpt-4o-mini", "text-embedding-3-small"])
            terraform.admin.organization.projects.spend_limit.update(
                project.id, currency="USD", interval="month", threshold_amount=500
            )
        accounts = [
            organization.projects.service_accounts.create(project.id, name=name, expires_in_seconds=DAY_SECONDS)
            for name in ("one", "two", "three")
        ]
        listed = list(organization.projects.service_accounts.list(project.id, limit=2))
        assert [each.name for each in listed] == ["one", "two", "three"]
        first = accounts[0].api_key
        assert first is not None
        organization.projects.api_keys.update(first.id, project_id=project.id, scopes=["api.model.request"])
        with client_of(weir, api_key=first.value) as program:
            program.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20)
            with pytest.raises(openai.NotFoundError) as unknown:
                program.chat.completions.create(model="gpt-4o", messages=HELLO)
            assert unknown.value.code == "model_not_found"
        assert organization.projects.service_accounts.delete(accounts[1].id, project_id=project.id).deleted
        remaining = organization.projects.api_keys.list(project.id)
        assert sum(1 for _ in remaining) == 2

        def billed_projects() -> list[str]:
            today = began_at - began_at % DAY_SECONDS
            costs = organization.usage.costs(start_time=today, bucket_width="1d", limit=1, group_by=["project_id"])
            return [result.project_id for result in costs.data[0].results]

        assert eventually(lambda: billed_projects() == [project.id])
        with pytest.raises(openai.NotFoundError) as unsupported:
            organization.groups.list()
        assert unsupported.value.code == "not_supported_by_weir"

        # OpenAI has no event for a spend limit; only a client that is told to be strict minds Weir's own.
        with client_of(weir, is_strict=False) as lenient:
            by_terraform = list(lenient.admin.organization.audit_logs.list(actor_ids=[owner.id], limit=1))
        assert [str(entry.type) for entry in by_terraform] == ["budget.created", "project.updated"]
        made = organization.audit_logs.list(event_types=["service_account.created"], project_ids=[project.id])
        assert sum(1 for _ in made) == 3
        assert organization.admin_api_keys.delete(owner.id).deleted
        assert organization.projects.archive(project.id).status == "archived"
        assert project.id not in [each.id for each in organization.projects.list()]
        assert project.id in [each.id for each in organization.projects.list(include_archived=True)]
        with client_of(weir, api_key=first.value) as program, pytest.raises(openai.AuthenticationError):
            program.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        with pytest.raises(openai.BadRequestError):
            organization.projects.service_accounts.create(project.id, name="too late")


@pytest.mark.parametrize("script", [onboard_a_team, keep_a_project_in_order])
async def test_a_script_for_openais_administration_works_with_weir_as_it_is(weir: RunningWeir, script: Any) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(script, weir)
    await weir.entries()
