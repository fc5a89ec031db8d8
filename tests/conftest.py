"""Fixtures and habits that all tests share."""

import shutil

import pytest
from hypothesis import settings as hypothesis_settings

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.own_servers",
    "tests.fixtures.weir",
    "tests.fixtures.canned",
    "tests.fixtures.limits",
    "tests.fixtures.upstreams",
    "tests.fixtures.redis_cluster",
]

# How long an example takes says nothing on a busy machine.
hypothesis_settings.register_profile("weir", deadline=None)
hypothesis_settings.load_profile("weir")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed, saying which."""
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                pytest.skip(f"needs {program}, which is not installed (`make test-all` installs it)")
