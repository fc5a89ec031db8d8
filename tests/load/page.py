"""docs/performance.md, made of what a run found."""

from collections.abc import Mapping
from datetime import datetime
from textwrap import fill
from typing import Final

from tests.load.options import Options
from tests.load.report import TARGETS, Report, Section, Table

_COLUMNS: Final = 116
_HEAD: Final = """\
# Performance

Written by `make bench` on {moment:%Y-%m-%d} (UTC), with {options}.
Rounds of {seconds:g} s in turn, one to warm up and {rounds} that count; medians. Calls per CPU second are what a core
would do that waits for nothing: a million by the CPU microseconds of a call. What is added at a percentile is the
difference between that percentile through Weir and straight from the upstream. Figures of one machine say little
about another: **the ratios are what counts**, and only within a run. Everything is on the loopback interface of one
machine, so nothing here contains a network.

| machine | |
|---|---|
{machine}

## Targets

With everything on: keys, budgets that enforce at every scope, limits, a durable ledger, metrics, access log,
traces.

| | wanted | measured | |
|---|---|---|---|
{targets}
"""
_TAIL: Final = """\
## How to repeat it

```sh
make bench                                         # all of it, under ten minutes; writes this page
make bench ROWS=10000000                           # with a ledger of ten million rows: some minutes more, and 8 GB
make bench BENCH_ARGS="--only calls --only parts"  # some steps; this page stays as it is
make soak                                          # 15 minutes of a steady load: what grows, and do the books add up?
make profile                                       # a flame graph of the hot path
```

It needs nothing but this checkout; where nginx is installed it is measured too. What disturbs the machine disturbs
all gateways alike, as they are measured in turn, but it widens everything: use a quiet machine. "Core busy" says
how much of its core a gateway used: far below 100 % its calls per second were limited by something else, such as
the load, and only its CPU per call counts.

### Beside other gateways

Weir neither installs nor starts other gateways. Start one on this machine yourself, with one worker, and with a
Redis and a key of its own if it can have them. Have it send calls for the model `sim-small` to an OpenAI-compatible
server at `http://127.0.0.1:9901/v1` with any API key: `make bench` starts that. LiteLLM is to be installed with its
bytecode (`pip` compiles it, `uv pip` with `--compile-bytecode`): without, and where Python may not write it, LiteLLM
compiles a module anew for each call, and takes 1.4 times as long.

```yaml
# litellm.yaml, with a Redis that listens on 6379
model_list:
  - model_name: sim-small
    litellm_params: {model: openai/sim-small, api_base: "http://127.0.0.1:9901/v1", api_key: any}
router_settings: {redis_host: 127.0.0.1, redis_port: 6379}
general_settings: {master_key: sk-its-key}
```

```sh
litellm --config litellm.yaml --host 127.0.0.1 --port 4000 --num_workers 1
node node_modules/@portkey-ai/gateway/build/start-server.js --port=8787 --headless
make bench BENCH_ARGS="--upstream-port 9901 --peer LiteLLM=http://127.0.0.1:4000,sk-its-key \\
  --peer 'Portkey=http://127.0.0.1:8787,any,x-portkey-provider: openai,x-portkey-custom-host: http://127.0.0.1:9901/v1'"
```

A peer is its name, its address, its key, and headers that it needs. Of what it cannot answer it is left out, and this
page says so. The processes that listen on a peer's port are kept on the gateway's core, and their CPU is counted:
start it directly, not in a container.

### A soak

`make soak` (`MINUTES=5` or `SECONDS=60` for less) keeps Weir at a third of what it can do, by its CPU, with plain,
streamed, abandoned and failing calls, after a peak of 600 at once. Every ten seconds it reads memory, files,
connections and threads of the process, and the latencies, and draws them in the end. It fails when memory grows by
more than a bound, when descriptors stay open, or when the ledger does not have exactly the calls that the simulator
has, with nothing left reserved.

### A profile

`make profile` writes `build/profile.svg`, a flame graph of where a Weir under load spends its CPU time, and prints
the functions that take most. `PROFILE_ARGS="--stream"` does it for streams. It looks at the Python frames by the
process's own CPU clock: time in C counts for the Python function that called it, and the event loop's own time for
what it calls next.
"""


def page(report: Report, options: Options, machine: Mapping[str, str], moment: datetime) -> str:
    """Return the page's text in Markdown."""
    head = _HEAD.format(
        moment=moment,
        options=options,
        rounds=options.rounds,
        seconds=options.seconds,
        machine="\n".join(f"| {name} | {value} |" for name, value in machine.items()),
        targets="\n".join(_target(report, name) for name in TARGETS),
    )
    return "\n".join([head, *(_section(each) for each in report.sections), _TAIL])


def _target(report: Report, name: str) -> str:
    what, wanted = TARGETS[name]
    measured = report.measured.get(name)
    if measured is None:
        return f"| {what} | {wanted} | not measured | |"
    return f"| {what} | {wanted} | {measured.text} | {'met' if measured.is_met else '**not met**'} |"


def _section(section: Section) -> str:
    lines = [f"## {section.title}", "", fill(section.how, _COLUMNS), ""]
    for part in section.parts:
        lines += [_table(part) if isinstance(part, Table) else fill(part, _COLUMNS), ""]
    lines += [f'Again: `make bench BENCH_ARGS="--only {section.name}"`.', ""]
    return "\n".join(lines)


def _table(table: Table) -> str:
    rows = [table.columns, ("---", *("---:" for _ in table.columns[1:])), *table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
