"""The commands that measure Weir come to their end and say what they found; how fast anything was is not looked at."""

import importlib
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from tests.fixtures.ports import free_port
from tests.load.__main__ import PAGE, STEPS, measure
from tests.load.flame_graph import flame_graph
from tests.load.gateways import ROOT, peer
from tests.load.generator import percentile_ms
from tests.load.options import Options
from tests.load.page import page
from tests.load.plot import picture, slope
from tests.load.report import TARGETS, Report

PATIENCE_SECONDS = 150


def run(module: str, *arguments: object) -> str:
    """Run a command that must succeed; return what it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends all that it has started
            raise
    assert process.returncode == 0, output
    return output


class NoStreams(BaseHTTPRequestHandler):
    """A gateway that has an answer for plain calls only."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500 if b"stream" in body else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def streamless() -> Iterator[int]:
    """Yield the port of a gateway that answers no streams."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NoStreams) as server:
        Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_bench_measures_gateways_in_turn_and_writes_a_page(tmp_path: Path, streamless: int) -> None:
    target, port = tmp_path / "performance.md", free_port()
    steps = ("--only", "calls", "--rounds", 1, "--seconds", 0.1)
    peers = (
        "--peer",
        f"LiteLLM or so=http://127.0.0.1:{port},any,x-more: 1",
        "--peer",
        f"Portkey=http://127.0.0.1:{streamless},any",
    )

    output = run("tests.load", *steps, "--upstream-port", port, *peers, "--page", target)

    text = target.read_text("utf-8")
    for name in ("bare relay", "weir, everything on", "LiteLLM or so", "plain, at a third of capacity"):
        assert f" {name} " in output
        assert f"| {name} |" in text
    assert "**This step failed**" not in text
    assert "Portkey is not among the streams of 100 events: calls failed: {\"500 b'{}'\":" in text
    for name in ("plain", "stream", "latency", "litellm", "portkey"):
        [row] = [line for line in text.splitlines() if line.startswith(f"| {TARGETS[name][0]} |")]
        assert row.endswith(("| met |", "| **not met** |"))
    assert text.count("| not measured |") == len(TARGETS) - 5


def test_a_soak_compares_the_books_and_draws_what_grows() -> None:
    output = run("tests.load.soak", "--seconds", 2, "--memory-mib", 500)

    assert "Nothing leaks, and the books are right." in output
    assert "memory, MiB\n" in output
    for kind in ("plain", "streamed", "abandoned in the middle", "refused upstream"):
        assert f" {kind}" in output.partition("Sent:")[2]


def test_a_profile_is_a_picture_of_functions(tmp_path: Path) -> None:
    svg = tmp_path / "new" / "profile.svg"

    output = run("tests.load.flames", "--seconds", 0.5, "--svg", svg)

    assert str(svg) in output
    titles = [title.text or "" for title in ET.parse(svg).iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("app/gateway/service.py:GatewayService.") for title in titles)


def test_a_step_that_fails_is_said_and_does_not_stop_the_others() -> None:
    report, failing, other = Report(), ModuleType("failing"), ModuleType("other")
    for each in (failing, other):
        vars(each).update(TITLE=each.__name__, HOW="Somehow.", step=lambda report, _: report.say("Measured."))
    vars(failing)["step"] = lambda *_: [].pop()

    for each in (failing, other):
        measure(report, Options(), each.__name__, each)

    text = page(report, Options(), {"processor": "one"}, datetime(2026, 11, 23, tzinfo=UTC))
    assert not report.is_complete
    assert "**This step failed**: IndexError: pop from empty list" in text
    assert "Measured." in text.partition("## other")[2]


def test_the_page_in_the_documentation_has_every_step_and_every_target() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())

    for name in STEPS:
        module = importlib.import_module(f"tests.load.{name}")
        assert f"## {module.TITLE} {module.HOW} " in text
        assert f'"--only {name}"' in text
    for what, wanted in TARGETS.values():
        assert f"| {what} | {wanted} |" in text


def test_a_peer_is_a_name_an_address_a_key_and_headers() -> None:
    found = peer("Some one=http://127.0.0.1:4000,sk-1,x-a: b,x-c: d")

    assert (found.name, found.port, found.key, found.headers) == ("Some one", 4000, "sk-1", ("x-a: b", "x-c: d"))


@pytest.mark.parametrize(
    "text", ["a", "a=http://127.0.0.1:1", "a=http://example.org:1,k", "a=http://127.0.0.1,k", "a=http://localhost:x,k"]
)
def test_a_peer_elsewhere_or_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"a peer is NAME.*, not 'a"):
        peer(text)


def test_the_slope_is_that_of_the_line_that_fits_best() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert slope([0, 1, 2, 3], [1, 0, 0, 1]) == pytest.approx(0)
    assert slope([1], [7]) == 0


def test_a_picture_goes_from_the_least_to_the_largest() -> None:
    lines = picture([1.0, 2.0, 3.0]).splitlines()

    assert lines[0].split() == ["3.0", "│", "█"]
    assert lines[-1].split() == ["1.0", "│▁██"]
    assert picture([2.0, 2.0])


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile_ms([0.003, 0.001, 0.002], 0.5) == 2
    assert percentile_ms([0.003, 0.001, 0.002], 1.0) == 3
    assert percentile_ms([], 0.5) == 0


def test_in_a_flame_graph_a_box_is_as_wide_as_its_share() -> None:
    root = ET.fromstring(flame_graph({("a", "b<c>"): 3, ("a",): 1}, "a & b"))

    widths = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        title, box = group[0], group[1]
        widths[(title.text or "").partition(":")[0]] = float(box.attrib["width"])
    assert widths == {"all": 1400, "a": 1400, "b<c>": 1050}
