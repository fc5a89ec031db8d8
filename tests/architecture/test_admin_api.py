"""Every administration method of OpenAI's SDK works with Weir, or learns from it what to use instead."""

import asyncio
import ssl

import pytest
from openai import APIStatusError, DefaultHttpxClient, OpenAI

from scripts.admin_api import Operation, operations, sdk_methods, support
from tests.fixtures.weir import RunningWeir

# Codes that tell that the route itself is missing or broken, not that the object of the call is.
WRONG = {"unknown_url", "method_not_allowed", "internal_error", "invalid_api_key"}


def ask_everything(weir: RunningWeir, key: str) -> dict[str, tuple[int, str | None]]:
    """Call each method with made-up arguments; return (status, error code) by the method's name."""
    found: dict[str, tuple[int, str | None]] = {}
    http = DefaultHttpxClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with OpenAI(
        base_url=f"{weir.base_url}/v1", api_key=key, admin_api_key=key, max_retries=0, http_client=http
    ) as client:
        for method in sdk_methods(client):
            try:
                method.call(**method.arguments)
                found[method.name] = (200, None)
            except APIStatusError as error:
                found[method.name] = (error.status_code, error.code)
    return found


def test_the_sdk_has_the_methods_that_the_page_is_about() -> None:
    assert len(operations()) >= 143
    assert Operation("GET", "/v1/organization/audit_logs", "client.admin.organization.audit_logs.list") in operations()


def test_each_method_is_supported_or_has_an_alternative() -> None:
    assert not [operation.sdk for operation in operations() if support(operation) == "no"]


async def test_each_method_works_or_says_what_to_use_instead(weir: RunningWeir) -> None:
    answers = await asyncio.to_thread(ask_everything, weir, weir.admin_key)
    assert len(answers) == len(operations())
    for operation in operations():
        status, code = answers[operation.sdk]
        assert status < 500, (operation, code)
        assert code not in WRONG, (operation, status)
        assert (code == "not_supported_by_weir") == (support(operation) != "yes"), (operation, status, code)


async def test_what_weir_has_not_names_the_alternative(weir: RunningWeir) -> None:
    async with weir.openai(admin_api_key=weir.admin_key) as client:
        with pytest.raises(APIStatusError) as refused:
            await client.admin.organization.groups.create(name="Team")
    assert refused.value.status_code == 404
    assert refused.value.code == "not_supported_by_weir"
    assert "/v1/organization/projects/{project_id}/users" in refused.value.message


async def test_without_a_key_nothing_is_said_of_what_there_is(weir: RunningWeir) -> None:
    answers = await asyncio.to_thread(ask_everything, weir, "wa-nobody")
    assert set(answers.values()) == {(401, "invalid_api_key")}
