"""The life of one installation: a first start in a terminal, calls, Ctrl-C, several workers, kill -9, SIGTERM.

The fixtures are the chapters of one story and the tests look at each, in the order of this file.
"""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.embedded.probes import eventually
from tests.fixtures.ports import free_port
from tests.process.conftest import WeirCommand
from tests.process.weir_process import (
    PATIENCE_SECONDS,
    WeirProcess,
    empty_directory,
    group_of,
    is_running,
    run,
    run_weir,
)

_CALLS_TO_WORKERS = 20


class Stream(NamedTuple):
    """A stream during which Weir was told to stop, and that Weir's processes."""

    request_id: str
    text: str
    exit_status: int
    processes: list[int]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with empty_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def first(directory: Path) -> Iterator[WeirProcess]:
    with WeirProcess(directory, "serve", in_terminal=True) as weir:
        weir.wait_for("started")
        yield weir


@pytest.fixture(scope="module")
def api_key(first: WeirProcess) -> str:
    return first.key("API")


@pytest.fixture(scope="module")
def first_stream(first: WeirProcess, api_key: str) -> Stream:
    return _stream_until_the_end(first, api_key, first.type_interrupt)


@pytest.fixture(scope="module")
def workers(directory: Path, first_stream: Stream) -> Iterator[WeirProcess]:
    with WeirProcess(directory, "serve", "--workers", "2") as weir:
        weir.wait_until_started(workers=2)
        yield weir


@pytest.fixture(scope="module")
def killed(workers: WeirProcess) -> list[int]:
    """Every process of the Weir with workers, which was ended by kill -9."""
    processes = [*group_of(workers.pid), *workers.server_pids()]
    workers.signal(signal.SIGKILL)
    workers.wait()
    return processes


@pytest.fixture(scope="module")
def last(directory: Path, killed: list[int]) -> Iterator[WeirProcess]:
    with WeirProcess(directory, "serve", "--workers", "2") as weir:
        weir.wait_until_started(workers=2)
        yield weir


@pytest.fixture(scope="module")
def last_stream(last: WeirProcess, api_key: str) -> Stream:
    return _stream_until_the_end(last, api_key, lambda: last.signal(signal.SIGTERM))


def _http(weir: WeirProcess, key: str | None = None) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=weir.base_url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)


def _ask(**changes: Any) -> dict[str, Any]:
    return {"model": "sim-small", "messages": [{"role": "user", "content": "Say hello."}], **changes}


def _stream_until_the_end(weir: WeirProcess, key: str, tell_to_stop: Callable[[], None]) -> Stream:
    processes = [*group_of(weir.pid), *weir.server_pids()]
    slow = _ask(stream=True, model="sim-small;tokens_per_second=60;output_tokens=40")
    with _http(weir, key) as client, client.stream("POST", "/v1/chat/completions", json=slow) as response:
        pieces = response.iter_text()
        text = next(pieces)
        tell_to_stop()
        weir.wait_for("stopping")
        text += "".join(pieces)
    return Stream(response.headers["x-request-id"], text, weir.wait(), processes)


def _receipt(weir: WeirProcess, key: str, request_id: str) -> dict[str, Any]:
    with _http(weir, key) as client:
        response = client.get(f"/v1/requests/{request_id}")
    assert response.status_code == 200, response.text
    receipt: dict[str, Any] = response.json()
    return receipt


def test_the_first_start_shows_the_addresses_and_both_keys(first: WeirProcess) -> None:
    assert f"listens on {first.base_url}\n" in first.output
    assert f"{first.base_url}/docs\n" in first.output
    assert re.fullmatch(r"wa-\w{61}", first.key("admin"))
    assert re.fullmatch(r"wk-\w{61}", first.key("API"))
    with _http(first) as client:
        assert client.get("/docs").status_code == 200


def test_the_first_start_says_what_it_does_and_nothing_else(first: WeirProcess) -> None:
    before, _, after = first.output.partition("listens on")
    with _http(first) as client:
        version = client.get("/openapi.json").json()["info"]["version"]
    assert before.strip().splitlines() == [
        f"Setting up PostgreSQL and Valkey in {first.directory / 'data'} ...",
        "",
        f"  Weir {version}",
    ]
    assert not re.search("traceback|warning|error", after, re.IGNORECASE)


def test_in_a_terminal_the_log_is_for_people(first: WeirProcess) -> None:
    lines = [line for line in first.output.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert "started" in lines[0]
    assert '"event"' not in first.output


@pytest.mark.needs("curl")
def test_the_printed_curl_command_works_as_it_is(first: WeirProcess, directory: Path) -> None:
    [command] = re.findall(r"^curl .*?'$", first.output, re.DOTALL | re.MULTILINE)
    answer = run(directory, "/bin/sh", "-c", command)
    assert answer.stdout.startswith("HTTP/1.1 200")
    assert re.search(r"^x-weir-cost-usd: \d", answer.stdout, re.MULTILINE)
    assert '"content":"You wrote:' in answer.stdout


def test_the_printed_python_program_works_as_it_is(first: WeirProcess, directory: Path) -> None:
    [program] = re.findall(r"^from openai .*?^print.*?$", first.output, re.DOTALL | re.MULTILINE)
    answer = run(directory, sys.executable, "-c", program)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("You wrote:")


def test_a_second_weir_on_the_same_directory_is_refused(first: WeirProcess, directory: Path) -> None:
    second = run_weir(directory, "serve", "--port", str(free_port()))
    assert second.returncode == 1
    assert second.stderr.strip() == (
        f"weir: {directory / 'data'} is in use by another Weir (pid {first.pid}): "
        "stop that one, or use another data directory"
    )
    with _http(first, first.key("API")) as client:
        assert client.get("/readyz").json()["status"] == "ok"


def test_a_port_that_is_taken_is_named(first: WeirProcess, weir_command: WeirCommand, directory: Path) -> None:
    finished = weir_command("serve", "--port", str(first.port), WEIR_DATA_DIR=str(directory / "never"))
    assert finished.status == 1
    assert f"cannot listen on 127.0.0.1:{first.port} (Address already in use)" in finished.errors
    assert "--port" in finished.errors
    assert not (directory / "never").exists()


def test_a_key_that_is_made_and_revoked_beside_a_running_weir_works_at_once_and_stops_at_once(
    first: WeirProcess, weir_command: WeirCommand, directory: Path
) -> None:
    data_dir = str(directory / "data")
    key = weir_command("keys", "create", "--name", "a program", WEIR_DATA_DIR=data_dir).output.strip()
    with _http(first, key) as client:
        assert client.post("/v1/chat/completions", json=_ask()).status_code == 200

        [line] = [
            line
            for line in weir_command("keys", "list", WEIR_DATA_DIR=data_dir).output.splitlines()
            if line.endswith("a program")
        ]
        assert key not in line
        key_id = line.split()[0]
        assert weir_command("keys", "revoke", key_id, WEIR_DATA_DIR=data_dir).status == 0

        assert eventually(lambda: client.post("/v1/chat/completions", json=_ask()).status_code == 401)
    assert "revoked" in weir_command("keys", "list", WEIR_DATA_DIR=data_dir).output


def test_an_admin_key_that_is_made_can_look_but_not_spend(
    first: WeirProcess, weir_command: WeirCommand, directory: Path
) -> None:
    key = weir_command("keys", "create", "--name", "x", "--admin", WEIR_DATA_DIR=str(directory / "data")).output.strip()
    with _http(first, key) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/chat/completions", json=_ask()).status_code == 403


def test_the_doctor_finds_a_running_weir_well(first: WeirProcess, weir_command: WeirCommand, directory: Path) -> None:
    finished = weir_command("doctor", WEIR_DATA_DIR=str(directory / "data"))
    assert finished.status == 0
    assert re.findall(r"^  (\w+) +(\w+):", finished.output, re.MULTILINE) == [
        ("ok", name) for name in ("settings", "database", "schema", "books", "zones", "redis", "upstream")
    ]


def test_what_is_private_in_the_data_directory_is_private(first: WeirProcess, directory: Path) -> None:
    for name in ("pepper", "running.json", "embedded/postgres/password"):
        assert (directory / "data" / name).stat().st_mode & 0o077 == 0, name


def test_a_body_of_100_megabytes_is_refused_and_never_held(first: WeirProcess) -> None:
    megabyte = b"x" * 2**20

    def undeclared() -> Iterator[bytes]:
        yield from (megabyte for _ in range(100))

    with _http(first, first.key("API")) as client:
        before = _peak_memory_bytes(first.pid)
        declared = client.post("/v1/chat/completions", content=megabyte * 100)
        assert _peak_memory_bytes(first.pid) - before < 16 * 2**20
        streamed = client.post(
            "/v1/chat/completions", content=undeclared(), headers={"content-type": "application/json"}
        )
        assert _peak_memory_bytes(first.pid) - before < 64 * 2**20  # 32 are allowed, and only known to be too many then
        assert client.get("/healthz").status_code == 200
    for response in (declared, streamed):
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


def _peak_memory_bytes(pid: int) -> int:
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) * 1024


def _assert_finished(stream: Stream) -> None:
    assert stream.text.endswith("data: [DONE]\n\n")
    assert stream.text.count('"content"') > 30
    assert stream.exit_status == 0
    assert not any(is_running(pid) for pid in stream.processes)


def test_a_stream_that_is_open_at_ctrl_c_is_finished(first_stream: Stream) -> None:
    _assert_finished(first_stream)


def test_ctrl_c_is_quiet_and_leaves_nothing_but_the_data(first: WeirProcess, first_stream: Stream) -> None:
    *earlier, stopping, finished, stopped = first.output[first.output.index("^C") :].splitlines()
    assert all("call" in line and first_stream.request_id not in line for line in earlier)  # gathered when it was typed
    assert "stopping" in stopping
    assert "call" in finished
    assert first_stream.request_id in finished
    assert "stopped" in stopped
    assert [path.name for path in first.directory.iterdir()] == ["data"]
    assert not (first.directory / "data" / "running.json").exists()


def test_the_second_start_shows_no_keys_and_the_first_ones_work(workers: WeirProcess, api_key: str) -> None:
    assert not re.search(r"\bw[ak]-", workers.output)
    assert "weir keys create" in workers.output
    with _http(workers, api_key) as client:
        assert client.get("/v1/models").status_code == 200


def test_what_the_stream_cost_was_written_before_the_end(
    workers: WeirProcess, first_stream: Stream, api_key: str
) -> None:
    receipt = _receipt(workers, api_key, first_stream.request_id)
    assert (receipt["ending"], receipt["outcome"], receipt["tokens"]["output"]) == ("settled", "completed", 40)


def test_the_metrics_of_all_workers_are_one_sum(workers: WeirProcess, api_key: str) -> None:
    for _ in range(_CALLS_TO_WORKERS):
        with _http(workers, api_key) as client:  # a connection each, so that both workers get some
            assert client.post("/v1/chat/completions", json=_ask()).status_code == 200
    with _http(workers) as client:
        metrics = client.get("/metrics").text
    counts = re.findall(r"^weir_calls_total{.*} (\S+)$", metrics, re.MULTILINE)
    assert sum(map(float, counts)) == _CALLS_TO_WORKERS
    assert len({line["pid"] for line in workers.events("started")}) == 2


def test_kill_9_takes_the_workers_and_the_servers_with_it(killed: list[int]) -> None:
    assert len(killed) >= 6  # Weir, gunicorn, two workers, two servers
    assert eventually(lambda: not any(is_running(pid) for pid in killed))


def test_everything_is_there_after_a_kill_9(last: WeirProcess, first_stream: Stream, api_key: str) -> None:
    assert _receipt(last, api_key, first_stream.request_id)["ending"] == "settled"


def test_a_stream_that_is_open_at_sigterm_is_finished_by_its_worker(last_stream: Stream) -> None:
    _assert_finished(last_stream)


def test_the_log_is_calm_from_the_start_to_the_end(last: WeirProcess, last_stream: Stream) -> None:
    lines = [json.loads(line) for line in last.output.splitlines() if line.startswith("{")]
    assert {line["level"] for line in lines} == {"info"}
    events = [line["event"] for line in lines if line["event"] != "call"]
    assert sorted(events) == sorted(["started", "stopping", "stopped"] * 2)
    assert "Traceback" not in last.output
