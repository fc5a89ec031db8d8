"""What a start imports, asked in a process of its own: time and memory that every installation would pay for."""

import sys
from pathlib import Path

from tests.process.weir_process import run

_SAY = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*filter(sys.modules.get, sys.modules))"


def imported_by(module: str, directory: Path) -> set[str]:
    root = str(Path(__file__).parents[2])
    finished = run(directory, sys.executable, "-c", _SAY, module, PYTHONPATH=root)
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split())


def test_the_command_imports_little_before_it_starts_the_servers(work_directory: Path) -> None:
    imported = imported_by("app.cli", work_directory)
    assert "app.embedded.servers" in imported
    assert imported.isdisjoint(
        {"aiohttp", "app.commands", "app.first_run", "app.main", "asyncpg", "cryptography", "fastapi", "redis"}
    )
    assert imported.isdisjoint({"rich", "sqlalchemy"})


def test_the_application_imports_nothing_that_most_installations_have_no_use_for(work_directory: Path) -> None:
    imported = imported_by("app.main", work_directory)
    assert "app.wiring" in imported
    unused = {"aiohttp", "alembic", "app.commands", "app.doctor", "app.simulator.app", "openai", "sentry_sdk"}
    assert imported.isdisjoint(unused)
    # What libraries would import in case somebody uses it, and what waits for the first sign-in, secret or exact count.
    assert imported.isdisjoint({"opentelemetry.sdk", "psutil", "pydantic.v1", "rich"})
    assert imported.isdisjoint({"cryptography.exceptions", "jose.backends", "passlib.registry", "tiktoken.core"})


def test_tracing_imports_nothing_for_what_weir_does_not_trace(work_directory: Path) -> None:
    imported = imported_by("app.observability.otlp", work_directory)
    assert "opentelemetry.sdk.trace" in imported
    assert imported.isdisjoint({"opentelemetry.sdk.metrics", "psutil"})
