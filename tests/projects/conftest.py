from typing import Any

import pytest
from openai import AsyncOpenAI


@pytest.fixture
def projects(admin: AsyncOpenAI) -> Any:
    return admin.admin.organization.projects
