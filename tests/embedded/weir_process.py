"""A process of its own that starts the servers, says where they are, and stops them when its input ends.

Usage: weir_process.py DATA_DIR [user] [fork]. `user`: become nobody first. `fork`: a forked child stops "its" servers.
"""

import encodings.idna  # noqa: F401 - a user that may not read the interpreter's files cannot import it later
import json
import os
import pwd
import sys
from pathlib import Path

from app.embedded.servers import EmbeddedServerError, EmbeddedServers


def say(said: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> None:
    if "user" in sys.argv:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    try:
        with EmbeddedServers(Path(sys.argv[1])) as servers:
            if "fork" in sys.argv:
                child = os.fork()
                if child == 0:
                    servers.stop()
                    os._exit(0)
                os.waitpid(child, 0)
            said = {
                "database_url": servers.database_url,
                "redis_url": servers.redis_url,
                "pids": [servers.postgres_pid, servers.valkey_pid],
                "is_root": os.geteuid() == 0,
            }
            say(said)
            sys.stdin.read()
    except EmbeddedServerError as error:
        say({"error": str(error)})


if __name__ == "__main__":
    main()
