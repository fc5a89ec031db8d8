"""The administration part of OpenAI's SDK, pointed at a Weir."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.fixtures.weir import RunningWeir


@pytest.fixture
async def admin(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    async with weir.openai(admin_api_key=weir.admin_key, _strict_response_validation=True) as client:
        yield client


@pytest.fixture
def projects(admin: AsyncOpenAI) -> Any:
    return admin.admin.organization.projects
