"""The law of the house as tables: who may import what, which library goes where, how long things may be.

Files are known by their place, which is their path under `app/` without `.py`: `keys/router`, `core/db`. To change a
rule, change its table here and write down why in `docs/decisions/`.
"""

from dataclasses import dataclass
from typing import Final

# The first name of a place decides, except that a feature's routers, jobs and auth are doors.
LAYERS: Final = {
    "process": {
        "__main__",
        "banner",
        "cli",
        "commands",
        "doctor",
        "failures",
        "first_run",
        "gunicorn_conf",
        "http_protocol",
        "http_writing",
        "limiting",
        "local",
        "main",
        "people",
        "reconcile",
        "rollup_commands",
        "routes",
        "secret_commands",
        "serve",
        "socket_protocol",
        "tenants",
        "calling",
        "upstreaming",
        "user_commands",
        "wiring",
        "worker",
    },
    "door": {"deps", "unsupported_router"},
    "orchestrator": {"gateway", "batches", "alerts", "dashboard", "health", "privacy"},
    "feature": {
        "answers",
        "audit",
        "budgets",
        "files",
        "idempotency",
        "identity",
        "keys",
        "ledger",
        "limits",
        "ownership",
        "prices",
        "projects",
        "reconciliation",
        "upstreams",
    },
    "leaf": {"embedded", "simulator"},
    "foundation": {
        "__init__",
        "cache_settings",
        "core",
        "dispatch_settings",
        "error_handlers",
        "errors",
        "gateway_settings",
        "identity_errors",
        "key_errors",
        "limit_errors",
        "limit_settings",
        "money_errors",
        "observability",
        "ownership_errors",
        "secret_settings",
        "setting_groups",
        "setting_names",
        "setting_values",
        "settings",
        "socket_errors",
        "upload_errors",
        "upstream_errors",
        "upstream_settings",
        "version",
    },
}
MAY_IMPORT: Final = {
    "process": {"process", "door", "orchestrator", "feature", "leaf", "foundation"},
    "door": {"door", "orchestrator", "feature", "foundation"},
    "orchestrator": {"orchestrator", "feature", "foundation"},
    "feature": {"feature", "foundation"},
    "leaf": {"foundation"},
    "foundation": {"foundation"},
}
# The one arrow that points up: the aliases in deps take their services out of the wiring.
SEAMS: Final = {("deps", "wiring")}

# A feature sees these other features and no more, so that the arrows stay a tree people can remember.
FEATURES_SEEN: Final = {
    "answers": {"projects"},
    "audit": set(),
    # The row of an idempotency key is written in the transaction of the reservation.
    "budgets": {"idempotency", "ledger", "prices"},
    "files": set(),
    "idempotency": set(),
    "identity": set(),
    "keys": {"projects", "identity"},
    "ledger": {"prices"},
    "limits": set(),
    "ownership": set(),
    "prices": set(),
    "projects": {"identity"},
    # It compares what the ledger says with what the provider says.
    "reconciliation": {"ledger"},
    "upstreams": set(),
}
# Whoever changes something says so to the audit log; whoever serves somebody must be able to say whom.
PLACES_SEEN_BY_ALL: Final = {"audit/service", "keys/caller"}

# The last word of a file's name says its kind; every other name is pure: no I/O, no await.
KINDS: Final = {
    "router": "door",
    "jobs": "door",
    "auth": "door",
    "service": "service",
    "repository": "repository",
    "store": "store",
    "client": "client",
    "models": "models",
    "schemas": "schemas",
}
KINDS_OF_PLACES: Final = {
    "deps": "door",
    # They drive clients and streams for their feature's service, and live beside it because each is a story of its own.
    "gateway/relay": "service",
    "gateway/relay_bytes": "service",
    "gateway/relay_stream": "service",
    "gateway/settlement": "service",
    "upstreams/dispatcher": "service",
}
# Inside one feature.
KINDS_SEEN_INSIDE: Final = {
    "door": {"door", "service", "schemas", "pure"},
    "service": {"service", "repository", "store", "client", "models", "schemas", "pure"},
    "repository": {"repository", "models", "pure"},
    "store": {"store", "pure"},
    "client": {"client", "pure"},
    "models": {"models", "pure"},
    "schemas": {"schemas", "pure"},
    "pure": {"pure"},
}
# Of another feature: what it decides and its value types; never where it keeps them.
KINDS_SEEN_ACROSS: Final = {"service", "pure"}
KINDS_SEEN_ACROSS_BY_DOORS: Final = {"service", "schemas", "pure"}
DOORS_SEEN_BY_DOORS: Final = {"deps", "keys/auth", "identity/auth"}

# The parts of core that reach a server; doors and pure modules leave them alone.
CORE_WITH_IO: Final = {
    "core/background",
    "core/db",
    "core/group_commit",
    "core/notify",
    "core/orm",
    "core/redis",
    "core/schema",
    "core/snapshot",
}
KINDS_WITHOUT_IO: Final = {"door", "models", "schemas", "pure"}
CORE_FOR_MODELS: Final = {"core/orm"}


@dataclass(frozen=True)
class Library:
    """Where the named packages may be imported: in these kinds of files and at these places (`*` works)."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    places: tuple[str, ...]
    instead: str


LIBRARIES: Final = (
    Library(
        ("sqlalchemy",),
        ("models", "repository"),
        ("core/db", "core/orm", "core/schema"),
        "SQL belongs in the feature's repository.py, tables in models.py",
    ),
    Library(
        ("asyncpg",), ("repository",), ("core/*",), "hand SQL to the feature's repository.py, or connect in core/db"
    ),
    Library(("hiredis", "redis", "valkey"), ("store",), ("core/redis",), "talk to Redis in the feature's store.py"),
    Library(
        (
            "aiohappyeyeballs",
            "aiohttp",
            "httpx",
            "httpx2",
            "http.client",
            "openai",
            "pyreqwest",
            "requests",
            "urllib.request",
        ),
        ("client",),
        (),
        "talk to other people's servers in the feature's client.py",
    ),
    Library(
        ("fastapi", "starlette"),
        ("door",),
        (
            "main",
            "cli",
            "wiring",
            "routes",
            "worker",
            "worker/*",
            "error_handlers",
            "observability/*",
            "*/middleware",
        ),
        "HTTP words belong in doors; services and pure modules know no framework",
    ),
)

FILE_LINES_MAX: Final = 300
FUNCTION_LINES_MAX: Final = 60
PARAMETERS_MAX: Final = 6
# Indented lines do not count: they draw a tree or show an example.
DOCSTRING_LINES_MAX: Final = 5
NAMES_THAT_SAY_NOTHING: Final = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}

# Seconds may be fractions of one even in these folders: names that end so are durations, not money.
DURATIONS: Final = ("_seconds", "_ms")
MONEY: Final = ("prices/*", "budgets/*", "ledger/*", "reconciliation/*", "core/money")
CLOCK: Final = "core/clock"
CLOCK_READERS: Final = {
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}
MAY_PRINT: Final = ("cli", "embedded/banner")
