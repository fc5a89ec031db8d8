"""How many processes `weir serve` runs when nobody says it."""

from pathlib import Path

import pytest

from app.serve import process_count
from app.settings import Settings, load_settings

_OWN = {
    "WEIR_DATABASE_URL": "postgresql://weir@127.0.0.1/weir",
    "WEIR_REDIS_URL": "redis://127.0.0.1:6379/0",
    "WEIR_KEYS__PEPPER": "pepper-pepper-pepper-pepper-pepper",
}


@pytest.fixture
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name in (*_OWN, "WEIR_SERVER__WORKERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1),
        ({name: value for name, value in _OWN.items() if name != "WEIR_REDIS_URL"}, 1),
        (_OWN, 5),
        ({"WEIR_SERVER__WORKERS": "3"}, 3),
        ({**_OWN, "WEIR_SERVER__WORKERS": "1"}, 1),
    ],
    ids=["embedded servers", "one of them embedded", "servers of its own", "as many as are asked for", "one"],
    indirect=["settings"],
)
def test_a_core_each_beside_servers_of_its_own_and_one_in_all_beside_embedded_ones(
    settings: Settings, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serve.usable_cores", lambda: 5)
    assert process_count(settings) == count


@pytest.mark.parametrize("settings", [_OWN], indirect=True)
def test_there_are_no_more_of_them_than_the_setting_allows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serve.usable_cores", lambda: 384)
    assert process_count(settings) == 256
