"""Which upstream serves which model."""

import pytest

from app.errors import ModelNotFound, NoUpstream
from app.observability.tracing import Tracer
from app.settings import Settings
from app.upstreams.client import UpstreamClient
from app.upstreams.directory import Directory
from app.upstreams.routing import Plan, Target, Upstream, plan
from app.upstreams.service import CallRules, UpstreamService
from tests.upstreams.test_tries import health as known_health

SIMULATOR = Upstream("simulator", "http://127.0.0.1:1/v1", "planted-key", models=("sim-*",), is_exclusive=True)
LOCAL = Upstream("local", "http://127.0.0.1:2/v1", "planted-key", models=("llama-?", "gpt-*-local"))
OPENAI = Upstream("openai", "http://127.0.0.1:3/v1", "planted-key", models=("*",))


@pytest.mark.parametrize(
    ("model", "upstream"),
    [
        ("sim-small", SIMULATOR),
        ("llama-3", LOCAL),
        ("gpt-5-local", LOCAL),
        ("gpt-5", OPENAI),
        ("SIM-small", OPENAI),
        ("llama-33", OPENAI),
        ("org/model:7b", OPENAI),
    ],
)
def test_the_first_upstream_whose_pattern_matches_serves_a_model(model: str, upstream: Upstream) -> None:
    found = plan([SIMULATOR, LOCAL, OPENAI], [model])
    assert found is not None
    assert found.targets[0] == Target(upstream, model)


async def test_a_model_that_nobody_serves_is_not_found_and_without_upstreams_the_operator_is_told() -> None:
    client = UpstreamClient(Settings().upstream)
    calls = CallRules(known_health(), 3, 600.0, {})
    try:
        with pytest.raises(ModelNotFound):
            UpstreamService(client, Directory([SIMULATOR, LOCAL]), Tracer(), lambda *_: True, calls).plan("gpt-5")
        with pytest.raises(NoUpstream):
            UpstreamService(client, Directory([SIMULATOR]), Tracer(), lambda *_: True, calls).plan("gpt-5")
    finally:
        await client.close()


def test_where_calls_go_is_looked_up_again_when_upstreams_change_and_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.upstreams.directory._REMEMBERED_MAX", 2)
    directory = Directory([LOCAL])
    assert [directory.plan((name,)) is None for name in ("gpt-5", "llama-1", "llama-2", "llama-3")] == [True] + 3 * [
        False
    ]
    assert len(directory._plans) <= 2

    directory.replace([OPENAI])

    found = directory.plan(("gpt-5",))
    assert found is not None
    assert found.targets == (Target(OPENAI, "gpt-5"),)


def test_an_upstream_does_not_show_its_key() -> None:
    assert "planted" not in repr(Plan((Target(OPENAI, "gpt-5"),)))
