"""Imports that wait are made at the first use; what a library is to do without is there again for others."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from app.core.imports import lazily, leave_out, without


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported; it says in `sys` that it was."""
    name = "weir_planted_module"
    (tmp_path / f"{name}.py").write_text("import sys\nsys.weir_planted = True\nanswer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)
    if hasattr(sys, "weir_planted"):
        del sys.weir_planted


def is_run() -> bool:
    return hasattr(sys, "weir_planted")


def test_a_module_that_waits_is_run_with_its_first_use(planted: str) -> None:
    module = lazily(planted)
    assert not is_run()
    assert module.answer == 42
    assert is_run()
    assert importlib.import_module(planted) is module
    assert lazily(planted) is module


def test_a_module_that_is_not_there_is_missed_at_once() -> None:
    with pytest.raises(ModuleNotFoundError, match="weir_no_such_module"):
        lazily("weir_no_such_module")


def test_inside_a_module_is_not_installed_and_afterwards_it_is(planted: str) -> None:
    with without(planted), pytest.raises(ModuleNotFoundError):
        importlib.import_module(planted)
    assert importlib.import_module(planted).answer == 42


def test_what_is_imported_already_stays(planted: str) -> None:
    module: ModuleType = importlib.import_module(planted)
    with without(planted):
        assert importlib.import_module(planted) is module
    leave_out(planted)
    assert sys.modules[planted] is module


def test_what_is_left_out_stays_out(planted: str) -> None:
    leave_out(planted)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(planted)
    assert not is_run()
