from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator
from tests.simulator.wire import Wire


@pytest.fixture(scope="session")
async def served() -> AsyncIterator[tuple[Simulator, str]]:
    simulator = create_simulator()
    async with serve_simulator(simulator) as base_url:
        yield simulator, base_url


@pytest.fixture
def simulator(served: tuple[Simulator, str]) -> Simulator:
    """Empty the account of the shared simulator and return it."""
    served[0].account.reset()
    return served[0]


@pytest.fixture
def base_url(served: tuple[Simulator, str], simulator: Simulator) -> str:
    return served[1]


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def wire(base_url: str) -> Wire:
    return Wire(base_url)
