"""`weir serve`, which notes where it spends its CPU time: from SIGUSR1 until SIGUSR2, when it writes that down.

Each line of the file named by SAMPLES is a stack, outermost first and divided by `;`, and how often it was seen.
"""

import os
import signal
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from app.cli import main as run

_INTERVAL_SECONDS: Final = 0.001
"""Of the process's own CPU time."""
_ROOT: Final = f"{Path(__file__).parents[2]}/"
_LIBRARIES: Final = "/site-packages/"

_stacks: Counter[tuple[CodeType, ...]] = Counter()


def main() -> None:
    """Serve as the command line says."""
    signal.signal(signal.SIGPROF, _note)
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, _INTERVAL_SECONDS, _INTERVAL_SECONDS))
    signal.signal(signal.SIGUSR2, _write)
    run()


def _note(_number: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    _stacks[tuple(reversed(stack))] += 1


def _write(*_: object) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    lines = [f"{';'.join(map(_name, stack))} {count}" for stack, count in _stacks.items()]
    path = Path(os.environ["SAMPLES"])
    unfinished = path.with_suffix(".new")
    unfinished.write_text("\n".join(lines), "utf-8")
    unfinished.replace(path)


def _name(code: CodeType) -> str:
    """Return the file, from the checkout or its library's folder, and the function."""
    file = code.co_filename
    short = file.partition(_LIBRARIES)[2] or file.removeprefix(_ROOT)
    if short.startswith("/"):  # the standard library
        short = Path(short).name
    return f"{short}:{getattr(code, 'co_qualname', code.co_name)}"


if __name__ == "__main__":
    main()
