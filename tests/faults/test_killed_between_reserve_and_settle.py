"""Weir is killed with SIGKILL while calls are under way: none is lost, and none is charged twice."""

import signal
from pathlib import Path

import httpx

from tests.embedded.probes import eventually
from tests.process.weir_process import WeirProcess, empty_directory

_QUICK = {"WEIR_BUDGETS__LEASE_SECONDS": "1", "WEIR_BUDGETS__HEARTBEAT_INTERVAL_SECONDS": "0.2"}
_HANGS = {
    "model": "sim-small;hang=2",
    "stream": True,
    "max_tokens": 1_000,
    "messages": [{"role": "user", "content": "Say hello."}],
}


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def kill_in_the_middle(directory: Path) -> tuple[str, str]:
    """Kill a Weir that is relaying a stream; return the API key and the request's id."""
    with WeirProcess(directory, variables=_QUICK) as weir:
        weir.wait_until_started()
        key = weir.key("API")
        with (
            httpx.Client(base_url=weir.base_url, headers=_bearer(key), trust_env=False, timeout=30) as client,
            client.stream("POST", "/v1/chat/completions", json=_HANGS) as answer,
        ):
            next(answer.iter_raw())
            request_id = answer.headers["x-request-id"]
            weir.signal(signal.SIGKILL)
            weir.wait()
    return key, request_id


def test_a_call_whose_process_was_killed_is_charged_its_ceiling_by_the_next() -> None:
    with empty_directory() as directory:
        key, request_id = kill_in_the_middle(directory)
        with WeirProcess(directory, variables=_QUICK) as weir:
            weir.wait_until_started()
            with httpx.Client(base_url=weir.base_url, headers=_bearer(key), trust_env=False) as client:
                assert eventually(lambda: client.get(f"/v1/requests/{request_id}").status_code == 200)
                receipt = client.get(f"/v1/requests/{request_id}").json()

    assert (receipt["ending"], receipt["outcome"], receipt["flags"]) == ("orphaned", "process_died", ["orphaned"])
    # 1,000 tokens out at 4 dollars per million, and some for what went in.
    assert 0.004 < float(receipt["cost_usd"]) < 0.005
