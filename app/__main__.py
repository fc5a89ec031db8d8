"""`python -m app`, the `weir` command: as `app/cli.py`, but with the garbage collector off while it is imported.

Nothing of that is garbage, and looking for some again and again is a sixth of the time that a start takes.
"""

import gc

gc.disable()
from app.cli import main  # noqa: E402 - the reason for this file

gc.enable()

if __name__ == "__main__":
    main()
