"""The data directory as several commands of one machine see it."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from app.embedded.servers import DirectoryInUse
from app.local import completed
from app.settings import Settings, SettingsError
from tests.fixtures.servers import PEPPER
from tests.process.weir_process import empty_directory


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Return a data directory in which a Weir has run before."""
    with empty_directory() as directory:
        said: list[str] = []
        with completed(Settings(data_dir=directory / "data"), said.append, share=False):
            pass
        assert said == [f"Setting up PostgreSQL and Valkey in {directory / 'data'} ..."]
        yield directory / "data"


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir)


@pytest.fixture
def peppered(settings: Settings) -> Settings:
    return settings.model_copy(update={"keys": settings.keys.model_copy(update={"pepper": SecretStr(PEPPER)})})


def _silent(line: str) -> None:
    raise AssertionError(f"nothing was to be said, but: {line}")


def test_a_command_shares_the_servers_and_the_pepper_of_a_weir_that_runs(settings: Settings) -> None:
    with completed(settings, _silent, share=False) as serving, completed(settings, _silent, share=True) as shared:
        assert shared == serving
        assert serving.database_url is not None
        assert serving.keys.pepper is not None


def test_a_second_weir_shares_nothing(settings: Settings) -> None:
    with completed(settings, _silent, share=False), pytest.raises(DirectoryInUse):  # noqa: SIM117
        with completed(settings, _silent, share=False):
            pass


def test_the_pepper_stays_from_start_to_start(settings: Settings) -> None:
    peppers = set()
    for _ in range(2):
        with completed(settings, _silent, share=False) as complete:
            assert complete.keys.pepper is not None
            peppers.add(complete.keys.pepper.get_secret_value())
    assert len(peppers) == 1


def test_a_pepper_that_was_lost_is_made_anew_with_a_warning(settings: Settings, data_dir: Path) -> None:
    (data_dir / "pepper").unlink(missing_ok=True)
    said: list[str] = []
    with completed(settings, said.append, share=False):
        pass
    assert said == [
        f"Warning: {data_dir / 'pepper'} is missing and is made anew: keys that were made before do not work any more."
    ]


def require_its_pepper(settings: Settings, peppered: Settings) -> None:
    """Assert that a command beside a Weir that runs with *peppered* works with the same pepper only."""
    with (
        pytest.raises(SettingsError, match="the running Weir was given one"),
        completed(settings, _silent, share=True),
    ):
        pass
    with completed(peppered, _silent, share=True) as shared:
        assert shared.keys == peppered.keys


def test_a_pepper_that_the_running_weir_was_given_is_not_made_up(
    settings: Settings, peppered: Settings, data_dir: Path
) -> None:
    (data_dir / "pepper").unlink(missing_ok=True)
    with completed(peppered, _silent, share=False):
        require_its_pepper(settings, peppered)
    assert not (data_dir / "pepper").exists()


def test_a_pepper_that_the_running_weir_was_given_is_not_taken_for_the_one_that_it_made_before(
    settings: Settings, peppered: Settings
) -> None:
    with completed(settings, lambda _: None, share=False) as before:
        assert before.keys.pepper != peppered.keys.pepper
    with completed(peppered, _silent, share=False):
        require_its_pepper(settings, peppered)


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
def test_a_server_of_the_running_weir_that_is_not_its_own_is_asked_for(peppered: Settings, name: str) -> None:
    serving = peppered.model_copy(update={name: SecretStr("elsewhere://")})
    with (
        completed(serving, _silent, share=False),
        pytest.raises(SettingsError, match=f"WEIR_{name.upper()}: the running Weir was given one"),
        completed(peppered, _silent, share=True),
    ):
        pass


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
def test_a_server_that_a_command_was_given_is_not_exchanged_for_that_of_the_running_weir(
    peppered: Settings, name: str
) -> None:
    given = peppered.model_copy(update={name: SecretStr("elsewhere://")})
    with completed(peppered, _silent, share=False), completed(given, _silent, share=True) as shared:
        assert getattr(shared, name) == SecretStr("elsewhere://")


@pytest.mark.parametrize(("workers", "connections"), [(None, 100), (2, 100), (10, 180)])
async def test_a_database_of_its_own_has_connections_for_all_workers(
    settings: Settings, workers: int | None, connections: int
) -> None:
    serving = settings.model_copy(update={"server": settings.server.model_copy(update={"workers": workers})})
    with completed(serving, lambda _: None, share=False) as complete:
        assert complete.database_url
        connection = await asyncpg.connect(complete.database_url.get_secret_value())
        assert await connection.fetchval("SHOW max_connections") == str(connections)
        await connection.close()
