"""Every way in which a command refuses or fails: one message that names the thing to change, and no traceback."""

import errno
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.core.cores import usable_cores
from app.settings import Settings
from app.version import VERSION
from tests.embedded.probes import eventually, fetch
from tests.fixtures.ports import free_port
from tests.fixtures.servers import PEPPER
from tests.process.conftest import WeirCommand, variables_of
from tests.process.weir_process import WeirProcess

_STRONG = "k" * 40
_NOBODY_LISTENS = "127.0.0.1:1"


@pytest.fixture
def external(empty_settings: Settings) -> dict[str, str]:
    """Return the variables of a Weir whose database and Redis are not its own; the database is empty."""
    return variables_of(empty_settings)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WEIR_BOOTSTRAP_API_KEY": "short"}, "WEIR_BOOTSTRAP_API_KEY: must have 32 characters or more, got 5"),
        ({"WEIR_BOOTSTRAP_ADMIN_KEY": "x" * 31}, "WEIR_BOOTSTRAP_ADMIN_KEY: must have 32 characters or more, got 31"),
        ({"WEIR_KEYS__PEPPER": "short"}, "WEIR_KEYS__PEPPER: must have 32 characters or more"),
        ({"WEIR_SERVER__PORT": "99999"}, "WEIR_SERVER__PORT: Input should be less than or equal to 65535"),
        ({"WEIR_HTTP__TRUSTED_HOSTS": "a.example.org"}, 'a list is written as JSON: ["a", "b"]'),
        ({"WEIR_DATABASE_URL": "mysql://h/d"}, "WEIR_DATABASE_URL: must start with postgresql:// or postgres://"),
        ({"WEIR_DATABASE_URL": "postgresql+asyncpg://h/d"}, "WEIR_DATABASE_URL: must start with postgresql://"),
        ({"WEIR_REDIS_URL": "http://h"}, "WEIR_REDIS_URL: must start with redis:// or rediss:// or unix://"),
        ({"OPENAI_API_KEY": "sk-a\nb"}, "OPENAI_API_KEY: must be printable ASCII"),
        ({"OPENAI_BASE_URL": "api.openai.com"}, "OPENAI_BASE_URL: must start with http:// or https://"),
        (
            {"WEIR_DATABASE_URL": f"postgresql://u:p@{_NOBODY_LISTENS}/d"},
            "WEIR_KEYS__PEPPER: required with WEIR_DATABASE_URL",
        ),
        (
            {"WEIR_ENVIRONMENT": "production", "OPENAI_API_KEY": "your-api-key-goes-here"},
            "OPENAI_API_KEY: looks like a placeholder",
        ),
        (
            {"WEIR_ENVIRONMENT": "production", "WEIR_KEYS__PEPPER": "changeme" * 5},
            "WEIR_KEYS__PEPPER: looks like a placeholder",
        ),
        ({"WEIR_ENVIRONMENT": "production", "WEIR_KEYS__PEPPER": _STRONG}, "WEIR_DATABASE_URL: required in production"),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, dict) else "",
)
def test_a_setting_that_cannot_be_used_stops_the_start_with_its_name(
    weir_command: WeirCommand, work_directory: Path, variables: dict[str, str], message: str
) -> None:
    finished = weir_command("serve", **{"WEIR_SERVER__PORT": str(free_port()), **variables})
    assert finished.status == 2
    assert message in finished.errors
    assert finished.output == ""
    assert not (work_directory / "data").exists()


def test_no_secret_is_repeated_in_a_complaint_about_it(weir_command: WeirCommand) -> None:
    finished = weir_command("serve", WEIR_BOOTSTRAP_API_KEY="hunter2", WEIR_DATABASE_URL="mysql://u:hunter2@h/d")
    assert finished.errors.count("WEIR_") == 2
    assert "hunter2" not in finished.errors


def test_a_database_that_is_away_is_named_without_its_password(weir_command: WeirCommand) -> None:
    url = f"postgresql://weir:hunter2@{_NOBODY_LISTENS}/weir"
    finished = weir_command(
        "serve",
        "--port",
        str(free_port()),
        WEIR_DATABASE_URL=url,
        WEIR_REDIS_URL=f"redis://:hunter2@{_NOBODY_LISTENS}",
        WEIR_KEYS__PEPPER=PEPPER,
    )
    assert finished.status == 1
    assert "weir: the database cannot be reached: ConnectionRefusedError" in finished.errors
    assert "hunter2" not in finished.output + finished.errors


@pytest.mark.parametrize(
    ("data_dir", "reason"),
    [
        (f"{__file__}/data", "is not a directory"),
        ("/sys/weir", "is not writable for the user that Weir runs as|is on a read-only file system"),
    ],
    ids=["below a file", "not writable"],
)
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("keys", "list"), ("doctor",)], ids=lambda c: c[0])
def test_a_data_directory_that_cannot_be_used_is_named(
    weir_command: WeirCommand, command: tuple[str, ...], data_dir: str, reason: str
) -> None:
    command = tuple(word.replace("0", str(free_port())) for word in command)
    finished = weir_command(*command, WEIR_DATA_DIR=data_dir)
    assert finished.status == 1
    said = finished.output + finished.errors
    assert re.search(reason, said), said
    assert data_dir.removesuffix("/data") in said
    assert "use another data directory" in said or "can be written to" in said


def test_a_schema_that_is_behind_is_refused_until_it_was_migrated(
    weir_command: WeirCommand, external: dict[str, str]
) -> None:
    for command in (("serve", "--port", str(free_port())), ("keys", "list"), ("keys", "create", "--name", "x")):
        refused = weir_command(*command, **external)
        assert refused.status == 1
        assert "the database schema is at nothing" in refused.errors
        assert "run `weir migrate`" in refused.errors
    doctor = weir_command("doctor", **external)
    assert doctor.status == 1
    assert re.search(r"FAILED +schema: the database schema is at nothing.*\n +-> run `weir migrate`", doctor.output)

    migrated = weir_command("migrate", **external)
    assert migrated.status == 0
    assert "(it was at nothing)" in migrated.output
    assert "(it was at nothing)" not in weir_command("migrate", **external).output
    assert weir_command("doctor", **external).status == 0


def test_a_schema_of_a_newer_weir_is_left_alone(weir_command: WeirCommand, external: dict[str, str]) -> None:
    weir_command("migrate", **external)
    fetch(external["WEIR_DATABASE_URL"], "UPDATE alembic_version SET version_num = '9999'")
    for command in (("serve", "--port", str(free_port())), ("migrate",), ("keys", "list")):
        refused = weir_command(*command, **external, WEIR_MIGRATE_ON_START="true")
        assert refused.status == 1
        assert "9999" in refused.errors
        assert "upgrade Weir" in refused.errors


def test_an_external_database_is_migrated_at_the_start_when_that_is_asked_for(
    work_directory: Path, external: dict[str, str], weir_command: WeirCommand
) -> None:
    key = "an-api-key-of-my-own-" + secrets.token_hex(16)
    variables = {
        **external,
        "WEIR_BOOTSTRAP_API_KEY": key,
        "WEIR_MIGRATE_AT_START": "a misspelt name",
        "WEIR_MIGRATE_ON_START": "true",
    }
    with WeirProcess(work_directory, variables=variables) as weir:
        weir.wait_until_started(workers=usable_cores())
        listed = weir_command("keys", "list", **external).output
        assert weir.stop() == 0
    assert len(listed.splitlines()) == 2
    assert "Warning: WEIR_MIGRATE_AT_START is not a setting; did you mean WEIR_MIGRATE_ON_START?\n" in weir.output
    assert key not in weir.output
    assert "Bearer $WEIR_BOOTSTRAP_API_KEY" in weir.output
    assert "Setting up" not in weir.output
    assert not (work_directory / "data").exists()
    assert len(weir.events("stopped")) == usable_cores()


@pytest.fixture
def two_workers(work_directory: Path, external: dict[str, str]) -> Iterator[WeirProcess]:
    variables = {**external, "WEIR_MIGRATE_ON_START": "true"}
    with WeirProcess(work_directory, "serve", "--workers", "2", variables=variables) as weir:
        weir.wait_until_started(workers=2)
        yield weir


def test_a_worker_that_cannot_take_the_place_of_a_dead_one_yet_takes_nobody_along(
    two_workers: WeirProcess, external: dict[str, str]
) -> None:
    version = fetch(external["WEIR_DATABASE_URL"], "SELECT version_num FROM alembic_version")
    fetch(external["WEIR_DATABASE_URL"], "UPDATE alembic_version SET version_num = 'none'")  # as good as away
    workers = [line["pid"] for line in two_workers.events("started")]

    os.kill(workers[0], signal.SIGKILL)
    two_workers.wait_for("exited with code 1")
    files = files_of_metrics(workers[1])
    two_workers.wait_for("exited with code 1", 3)
    assert files_of_metrics(workers[1]) == files  # however often it is tried
    assert httpx.get(f"{two_workers.base_url}/healthz", trust_env=False).status_code == 200
    fetch(external["WEIR_DATABASE_URL"], f"UPDATE alembic_version SET version_num = '{version}'")

    two_workers.wait_until_started(workers=3)
    assert not two_workers.events("stopping")
    assert two_workers.stop() == 0


def files_of_metrics(worker: int) -> set[str]:
    """Return what was counted into from the beginning to the end, which the gauges of those who live are not."""
    variables = Path(f"/proc/{worker}/environ").read_text().split("\0")
    [directory] = [value for name, _, value in (each.partition("=") for each in variables) if "MULTIPROC" in name]
    return {path.name for path in Path(directory).iterdir() if not path.name.startswith("gauge_live")}


def test_whoever_starts_says_that_its_servers_are_up(two_workers: WeirProcess) -> None:
    metrics = httpx.get(f"{two_workers.base_url}/metrics", trust_env=False).text
    for name in ("database", "redis"):
        assert f"\nweir_{name}_up 1.0\n" in metrics


def test_workers_that_finish_their_calls_leave_nobody_waiting_at_their_door(
    two_workers: WeirProcess, weir_command: WeirCommand, external: dict[str, str]
) -> None:
    key = weir_command("keys", "create", "--name", "one", **external).output.strip()
    slow = "sim-small;tokens_per_second=10;output_tokens=40"
    ask = {"model": slow, "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}
    with (
        httpx.Client(base_url=two_workers.base_url, trust_env=False, timeout=60) as client,
        client.stream("POST", "/v1/chat/completions", json=ask, headers={"authorization": f"Bearer {key}"}) as answer,
    ):
        pieces = answer.iter_text()
        next(pieces)
        two_workers.signal(signal.SIGTERM)

        assert eventually(lambda: refuses_connections(two_workers.port))
        assert len(two_workers.events("stopped")) < 2  # one still answers
        assert "".join(pieces).endswith("data: [DONE]\n\n")
    assert two_workers.wait() == 0


def refuses_connections(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_workers_whose_gunicorn_is_killed_stop(two_workers: WeirProcess) -> None:
    workers = {line["pid"] for line in two_workers.events("started")}
    [gunicorn] = {parent_of(pid) for pid in workers}

    os.kill(gunicorn, signal.SIGKILL)

    assert two_workers.wait() != 0
    assert len(two_workers.events("stopped")) == 2


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_that_is_closed_ends_it_in_good_order(
    work_directory: Path, external: dict[str, str], workers: int
) -> None:
    variables = {**external, "WEIR_MIGRATE_ON_START": "true"}
    with WeirProcess(work_directory, "serve", "--workers", str(workers), variables=variables) as weir:
        weir.wait_until_started(workers)
        weir.signal(signal.SIGHUP)
        assert weir.wait() == 0
    assert (len(weir.events("stopping")), len(weir.events("stopped"))) == (workers, workers)


def test_the_doctor_says_what_to_do_about_each_failure(weir_command: WeirCommand, external: dict[str, str]) -> None:
    weir_command("migrate", **external)
    broken = {
        **external,
        "WEIR_DATABASE_URL": re.sub(":[^:@]+@", ":wrong@", external["WEIR_DATABASE_URL"]),
        "WEIR_REDIS_URL": f"redis://{_NOBODY_LISTENS}",
        "OPENAI_API_KEY": "sk-something",
        "OPENAI_BASE_URL": f"http://{_NOBODY_LISTENS}/v1",
    }
    finished = weir_command("doctor", **broken)
    assert finished.status == 1
    findings = re.findall(r"^  FAILED +(\w+): .*\n +-> (.*)$", finished.output, re.MULTILINE)
    assert [name for name, _ in findings] == ["database", "redis", "upstream"]
    for (_, advice), variable in zip(findings, ("WEIR_DATABASE_URL", "WEIR_REDIS_URL", "OPENAI_BASE_URL"), strict=True):
        assert variable in advice


def test_the_doctor_names_an_option_of_redis_that_there_is_none_of(
    weir_command: WeirCommand, external: dict[str, str]
) -> None:
    weir_command("migrate", **external)
    finished = weir_command("doctor", **{**external, "WEIR_REDIS_URL": "redis://127.0.0.1:6379/0?family=0"})
    assert finished.status == 1
    assert re.search(r"FAILED +redis: WEIR_REDIS_URL: .*'family'\n +-> Correct it", finished.output)
    assert "ok       upstream" in finished.output


def test_the_doctor_names_bad_settings_and_warns_of_unknown_ones(weir_command: WeirCommand) -> None:
    finished = weir_command("doctor", WEIR_SERVER__PORT="many", WEIR_SERVER__HOSTS="x")
    assert finished.status == 1
    assert re.search(r"FAILED +settings: WEIR_SERVER__PORT: .*\n +WEIR_SERVER__HOSTS: .*\n +-> ", finished.output)
    assert "Warning: WEIR_SERVER__HOSTS is not a setting; did you mean WEIR_SERVER__HOST?" in finished.errors


def test_the_doctor_finds_a_machine_well_on_which_weir_never_ran(weir_command: WeirCommand) -> None:
    finished = weir_command("doctor")
    assert finished.status == 0
    assert "the first start makes it" in finished.output


@pytest.fixture
def own_upstream(work_directory: Path) -> Iterator[WeirProcess]:
    with WeirProcess(work_directory, "simulate") as simulator:
        simulator.wait_for("listens on")
        yield simulator


def test_the_simulator_runs_by_itself_and_the_doctor_reaches_it(
    own_upstream: WeirProcess, weir_command: WeirCommand, external: dict[str, str]
) -> None:
    weir_command("migrate", **external)
    upstream = {"OPENAI_API_KEY": "sk-any", "OPENAI_BASE_URL": f"{own_upstream.base_url}/v1"}
    well = weir_command("doctor", **external, **upstream)
    assert well.status == 0
    assert "127.0.0.1 answers 200" in well.output
    elsewhere = weir_command("doctor", **external, **{**upstream, "OPENAI_BASE_URL": own_upstream.base_url})
    assert elsewhere.status == 1
    assert re.search(r"FAILED +upstream: 127.0.0.1 answers 404\n +-> Is OPENAI_BASE_URL right", elsewhere.output)

    taken = weir_command("simulate", "--port", str(own_upstream.port))
    assert (taken.status, "cannot listen on port" in taken.errors) == (1, True)
    own_upstream.signal(signal.SIGINT)
    assert own_upstream.wait() == 0
    assert "Traceback" not in own_upstream.output


def test_keys_are_made_listed_and_revoked(weir_command: WeirCommand, external: dict[str, str]) -> None:
    weir_command("migrate", **external)
    assert "no keys yet" in weir_command("keys", "list", **external).output
    made = weir_command(
        "keys", "create", "--name", "one", "--expires-in-days", "7", "--scopes", "model.read", **external
    )
    assert re.fullmatch(r"wk-\w{61}\n", made.output)
    listed = weir_command("keys", "list", **external).output
    assert re.fullmatch(r"key_\w+  api +proj_default +wk-\S+ +expires \d{4}-\d\d-\d\d +one\n", listed)
    assert made.output.strip() not in listed

    revoked = weir_command("keys", "revoke", listed.split()[0], **external)
    assert (revoked.status, revoked.output) == (0, f"{listed.split()[0]} is revoked.\n")
    assert "revoked" in weir_command("keys", "list", **external).output


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (("keys", "revoke", "key_nothing"), 1, "weir: There is no key 'key_nothing'.\n"),
        (("keys", "create", "--name", "x", "--project", "nothing"), 1, "weir: There is no project 'nothing'.\n"),
        (("keys", "create"), 2, "Missing option '--name'"),
        (("keys", "create", "--name", "x", "--expires-in-days", "0"), 2, "Invalid value for '--expires-in-days'"),
        (("keys", "create", "--name", "x", "--user", "user_nobody"), 1, "'user_nobody' is not a person who may make"),
        (("keys", "create", "--name", "x", "--scopes", "everything"), 2, "Invalid value for --scopes: it must be one"),
        (("keys", "create", "--name", "x", "--admin", "--scopes", "api.all.read"), 2, "an admin key has no scopes"),
        (("serve", "--port", "many"), 2, "Invalid value for '--port'"),
        (("nothing",), 2, "No such command 'nothing'"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_a_command_that_is_asked_wrongly_says_why(
    weir_command: WeirCommand, external: dict[str, str], command: tuple[str, ...], status: int, message: str
) -> None:
    weir_command("migrate", **external)
    finished = weir_command(*command, **external)
    assert finished.status == status
    assert message in finished.errors
    assert finished.output == ""


def test_the_version_is_printed(weir_command: WeirCommand) -> None:
    assert weir_command("version").output == f"weir {VERSION}\n"


_COMMANDS = [(), ("serve",), ("migrate",), ("doctor",), ("simulate",), ("version",), ("keys",)]
_COMMANDS += [("keys", "create"), ("keys", "list"), ("keys", "revoke")]


@pytest.mark.parametrize("command", _COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does_and_what_each_option_means(
    weir_command: WeirCommand, command: tuple[str, ...]
) -> None:
    finished = weir_command(*command, "--help")
    assert finished.status == 0
    assert f"Usage: {' '.join(('weir', *command))}" in finished.output
    described = re.findall(r"^\W*(?:--\w[\w-]*|[a-z]+) +\S.*[a-z].*$", finished.output, re.MULTILINE)
    assert described
    assert sys.executable not in finished.output


def test_no_command_at_all_shows_the_help(weir_command: WeirCommand) -> None:
    finished = weir_command()
    assert finished.status == 2
    assert "serve" in finished.output + finished.errors
