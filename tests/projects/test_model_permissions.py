"""Which models a project may call: those that it may not are as unknown as those that are not there."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from app.projects.model_permissions import is_allowed
from app.projects.record import ModelPermissions
from app.projects.service import DEFAULT_PROJECT_ID
from tests.fixtures.signed_in import sign_in
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.gateway.socket_wire import opened

HI: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def permissions(projects: Any) -> Any:
    return projects.model_permissions


async def models_of(client: AsyncOpenAI) -> set[str]:
    return {model.id async for model in client.models.list()}


@pytest.mark.parametrize(
    ("mode", "model_ids", "of_key", "allowed"),
    [
        ("allow_list", ("gpt-4o",), (), {"gpt-4o"}),
        ("allow_list", ("gpt-4o*",), (), {"gpt-4o", "gpt-4o-mini"}),
        ("allow_list", (), (), set()),
        ("deny_list", ("gpt-4o",), (), {"gpt-4o-mini", "o3"}),
        ("deny_list", ("*",), (), set()),
        ("deny_list", (), ("o*",), {"o3"}),
        ("allow_list", ("gpt-4o*",), ("*-mini", "o3"), {"gpt-4o-mini"}),
        (None, (), ("gpt-4o", "o3"), {"gpt-4o", "o3"}),
        (None, (), (), {"gpt-4o", "gpt-4o-mini", "o3"}),
    ],
)
def test_what_the_project_and_the_key_both_allow_is_allowed(
    mode: Any, model_ids: tuple[str, ...], of_key: tuple[str, ...], allowed: set[str]
) -> None:
    of_project = None if mode is None else ModelPermissions(mode, model_ids)
    assert {model for model in ("gpt-4o", "gpt-4o-mini", "o3") if is_allowed(model, of_key, of_project)} == allowed


async def test_permissions_are_set_and_forgotten(weir: RunningWeir, permissions: Any) -> None:
    before = await permissions.retrieve(DEFAULT_PROJECT_ID)
    assert (before.object, before.mode, before.api_model_ids) == ("project.model_permissions", "deny_list", [])

    given = {"mode": "allow_list", "model_ids": ["sim-small", "gpt-*", "sim-small"]}
    made = await permissions.update(DEFAULT_PROJECT_ID, **given)
    assert (made.mode, made.api_model_ids) == ("allow_list", ["sim-small", "gpt-*"])
    assert await permissions.retrieve(DEFAULT_PROJECT_ID) == made
    deleted = await permissions.delete(DEFAULT_PROJECT_ID)
    assert (deleted.deleted, deleted.object) == (True, "project.model_permissions.deleted")
    assert await permissions.retrieve(DEFAULT_PROJECT_ID) == before
    [rows] = await weir.sql("SELECT count(*) FROM audit_entries WHERE event = 'project.updated'")
    assert rows[0] == 2


@pytest.mark.parametrize("model", [{}, {"model": "gpt-image-1.5"}], ids=str)
async def test_a_forbidden_model_is_not_to_be_had_as_a_tool_of_another(
    weir: RunningWeir, permissions: Any, model: dict[str, str]
) -> None:
    await permissions.update(DEFAULT_PROJECT_ID, mode="allow_list", model_ids=["gpt-4o-mini"])
    tools: list[Any] = [{"type": "image_generation", **model}]
    async with weir.openai() as client:
        with pytest.raises(NotFoundError, match="gpt-image-") as refused:
            await client.responses.create(model="gpt-4o-mini", input="Draw.", tools=tools)
        assert refused.value.code == "model_not_found"
        async with opened(weir, "/v1/responses") as wire:
            asked = {"model": "gpt-4o-mini", "input": "Draw.", "tools": tools}
            await wire.send({"type": "response.create", **asked})
            event = await wire.receive()
        assert (event["type"], event["error"]["code"]) == ("error", "model_not_found")
        assert not weir.arrivals

        await permissions.update(DEFAULT_PROJECT_ID, mode="allow_list", model_ids=["gpt-4o-mini", "gpt-image-*"])
        assert (await client.responses.create(model="gpt-4o-mini", input="Draw.", tools=tools)).id


async def test_a_forbidden_model_is_as_unknown_as_any(weir: RunningWeir, permissions: Any) -> None:
    async with weir.openai() as client:
        everything = await models_of(client)
        assert {"sim-small", "sim-large"} <= everything

        await permissions.update(DEFAULT_PROJECT_ID, mode="deny_list", model_ids=["sim-small"])
        assert await models_of(client) == everything - {"sim-small"}
        for attempt in (
            client.chat.completions.create(model="sim-small", messages=HI),
            client.chat.completions.create(model="sim-small", messages=HI, stream=True),
            client.models.retrieve("sim-small"),
            client.post("/gateway/explain", body={"model": "sim-small", "messages": HI}, cast_to=object),
        ):
            with pytest.raises(NotFoundError) as refused:
                await attempt
            assert refused.value.body == {
                "message": "The model 'sim-small' does not exist or you do not have access to it.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        await client.chat.completions.create(model="sim-large", messages=HI)
        assert (await client.models.retrieve("sim-large")).id == "sim-large"
        assert [call.model for call in weir.arrivals if call.model] == ["sim-large"]

        await permissions.update(DEFAULT_PROJECT_ID, mode="allow_list", model_ids=["sim-s*"])
        assert {model for model in await models_of(client) if model.startswith("sim-")} == {"sim-small"}
        await client.chat.completions.create(model="sim-small", messages=HI)
    async with weir.openai(api_key=weir.admin_key) as operator:
        assert await models_of(operator) == everything
    ada = await sign_in(weir, "Ada", "member", proj_default="member")
    async with weir.openai(api_key=ada.token) as client:
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(model="sim-large", messages=HI)


async def test_other_processes_heed_it_at_once(weir: RunningWeir, start_weir: StartWeir, permissions: Any) -> None:
    other = await start_weir({})
    async with other.openai(api_key=weir.api_key) as client:
        assert "sim-small" in await models_of(client)
        await permissions.update(DEFAULT_PROJECT_ID, mode="deny_list", model_ids=["sim-*"])

        async def is_heeded() -> bool:
            return "sim-small" not in await models_of(client)

        await until(is_heeded)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"mode": "some_list", "model_ids": []}, "mode"),
    ({"mode": "allow_list", "model_ids": ["a\nb"]}, "model_ids[0]"),
    ({"mode": "allow_list", "model_ids": ["gpt-4o", ""]}, "model_ids[1]"),
    ({"mode": "allow_list", "model_ids": ["x"] * 1_001}, "model_ids"),
    ({"mode": "allow_list", "model_ids": "gpt-4o"}, "model_ids"),
    ({"mode": "allow_list", "model_ids": [], "extra_body": {"project_id": "proj_other"}}, "project_id"),
]


async def test_permissions_that_cannot_be_are_refused(permissions: Any) -> None:
    for given, param in BAD:
        with pytest.raises(BadRequestError) as refused:
            await permissions.update(DEFAULT_PROJECT_ID, **given)
        assert refused.value.param == param, given
    assert (await permissions.retrieve(DEFAULT_PROJECT_ID)).api_model_ids == []
