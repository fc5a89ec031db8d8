"""Imports that wait until they are used, and imports that libraries do without.

For what takes megabytes and few installations use: see decision 0008.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def lazily(name: str) -> ModuleType:
    """Return the module *name*, which is imported when something of it is first used; raises ModuleNotFoundError.

    https://docs.python.org/3/library/importlib.html#implementing-lazy-imports
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name, name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Have what is imported inside find that the modules *names* are not installed, unless they are imported already.

    For libraries that say they can do without them. None in place of a module means that there is none:
    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def leave_out(name: str) -> None:
    """Have everybody find the same from now on."""
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]
