"""What the Dockerfile, the compose file and the workflows promise. No engine is needed: they are read, not run."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.architecture.source import ROOT

SECRET_NAMES = re.compile(r"PASSWORD|PEPPER|_KEY$|_URL$|AUTH")
REFERENCE_IN_VALUE = re.compile(r"\$\{[A-Z_]+:[?-]")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return each instruction and its arguments, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [
        (name.upper(), rest.strip()) for line in joined.splitlines() if line for name, _, rest in [line.partition(" ")]
    ]


def broken_promises(dockerfile: str) -> list[str]:
    """Return what an image built from *dockerfile* would not keep."""
    found = instructions(dockerfile)
    last_stage = found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]
    of = dict(last_stage)
    installs = [rest for name, rest in found if name == "RUN" and "pip install" in rest]
    checks = [
        (
            "stages must be tagged, and not with `latest`",
            all(":" in tag and "latest" not in tag for tag in bases(found)),
        ),
        ("USER must be a number other than 0", bool(re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", of.get("USER", "")))),
        ("HEALTHCHECK must ask /healthz", "/healthz" in of.get("HEALTHCHECK", "")),
        ("STOPSIGNAL must be SIGTERM, which Weir drains on", of.get("STOPSIGNAL") == "SIGTERM"),
        ("CMD must be a JSON list, so that signals reach Python", of.get("CMD", "").startswith("[")),
        ("dependencies must be installed with --require-hashes", all("--require-hashes" in rest for rest in installs)),
        ("nothing may be fetched outside of the lock file", not re.search(r"\bADD\b|curl |wget |apt", dockerfile)),
        ("only wheels may be installed", all("--only-binary=:all:" in rest for rest in installs)),
    ]
    return [promise for promise, is_kept in checks if not is_kept]


def bases(found: list[tuple[str, str]]) -> list[str]:
    """Return the images that the stages start from, with build arguments filled in."""
    defaults = dict(rest.split("=", 1) for name, rest in found if name == "ARG" and "=" in rest)
    tags = [rest.split()[0] for name, rest in found if name == "FROM"]
    return [re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], tag) for tag in tags]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return dict(compose["services"])


def test_the_image_keeps_its_promises(dockerfile: str) -> None:
    assert not broken_promises(dockerfile)


@pytest.mark.parametrize(
    ("promise", "kept", "broken"),
    [
        ("stages", "python:3.13-slim", "python"),
        ("USER", "USER 10001:10001", "USER root"),
        ("USER", "USER 10001:10001\n", ""),
        ("HEALTHCHECK", "'/healthz'", "'/'"),
        ("STOPSIGNAL", "SIGTERM", "SIGKILL"),
        ("CMD", 'CMD ["python", "-m", "app", "serve"]', "CMD python -m app serve"),
        ("dependencies", "--require-hashes ", ""),
        ("nothing", "COPY LICENSE", "ADD https://example.org/LICENSE"),
        ("only wheels", "--only-binary=:all: ", ""),
    ],
)
def test_a_broken_promise_is_seen(dockerfile: str, promise: str, kept: str, broken: str) -> None:
    assert kept in dockerfile

    assert [line for line in broken_promises(dockerfile.replace(kept, broken)) if line.startswith(promise)]


def test_what_the_image_copies_exists_and_reaches_the_builder(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copies = [rest.split() for name, rest in instructions(dockerfile) if name == "COPY" and "--from=" not in rest]
    sources = [word for words in copies for word in words[:-1] if not word.startswith("--")]

    assert ignored[1] == "*"
    assert sorted(sources) == sorted(let_in)
    assert not [source for source in sources if not (ROOT / source).exists()]


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_the_health_check_fails_when_weir_does_not_answer_200(dockerfile: str, status: int, exit_status: int) -> None:
    (check,) = (rest for name, rest in instructions(dockerfile) if name == "HEALTHCHECK")
    python, *arguments = json.loads(check[check.index("[") :])
    assert python == "python"

    class Healthz(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Healthz) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = os.environ | {"WEIR_SERVER__PORT": str(server.server_port)}
        assert subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode == exit_status
        thread.join()


def test_every_service_is_hardened(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
        assert "cap_add" not in service, name
        assert service.get("user", "10001") not in {"root", "0"}, name


def test_every_secret_comes_from_the_environment(services: dict[str, dict[str, Any]]) -> None:
    secrets = {
        f"{service}.{name}": value
        for service, described in services.items()
        for name, value in described["environment"].items()
        if SECRET_NAMES.search(name)
    }

    assert {"api.WEIR_KEYS__PEPPER", "postgres.POSTGRES_PASSWORD", "redis.VALKEYCLI_AUTH"} <= secrets.keys()
    assert not [name for name, value in secrets.items() if not REFERENCE_IN_VALUE.search(value)]


def test_the_api_starts_after_its_servers_and_the_migrations(services: dict[str, dict[str, Any]]) -> None:
    waits_for = {name: condition["condition"] for name, condition in services["api"]["depends_on"].items()}

    assert waits_for == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }
    assert services["migrate"]["command"][-1] == "migrate"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert all("healthcheck" in services[name] for name in ("postgres", "redis"))


def test_only_the_api_has_a_port_and_only_on_this_machine(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert list(ports) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in ports["api"])


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_may_do_no_more_than_it_must(workflow: Path) -> None:
    described = yaml.safe_load(workflow.read_text("utf-8"))
    steps = [step for job in described["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]

    assert described["permissions"] in ({}, {"contents": "read"})
    assert all("timeout-minutes" in job for job in described["jobs"].values())
    assert not [name for name in actions if not re.search(r"^actions/[a-z-]+@v\d+$|@[0-9a-f]{40}$", name)]


def test_the_checks_of_a_pull_request_are_those_of_the_makefile() -> None:
    described = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    runs = [step["run"] for step in described["jobs"]["check"]["steps"] if "run" in step]

    assert runs == ["make lint types test"]


def test_the_reference_is_checked_whatever_it_is_written_from() -> None:
    described = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    [hook] = [hook for repo in described["repos"] for hook in repo["hooks"] if hook["id"] == "reference"]
    sources = [*ROOT.glob("app/**/*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("docs/reference/*.md")]

    assert not [path for path in sources if not re.search(hook["files"], path.relative_to(ROOT).as_posix())]


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_home_that_can_only_be_read_is_no_reason_not_to_install(tmp_path: Path, *, is_writable: bool) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "UV_", "XDG_"))}
    home = tmp_path if is_writable else Path("/dev/null")  # nobody, root included, makes a directory in there
    printed = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/.dev"],
        cwd=ROOT,
        env={**inherited, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "/uv pip install " in printed
    assert ("--no-cache" in printed) is not is_writable
