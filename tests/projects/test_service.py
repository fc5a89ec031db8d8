"""Projects: one to begin with, and each found by its id or its name."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.errors import NotFound
from app.first_run import open_database
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.settings import Settings


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    yield db
    await db.close()


async def test_the_default_project_is_made_once_however_many_processes_try(db: Database) -> None:
    projects = ProjectService(db)

    made = await asyncio.gather(*(projects.create_default() for _ in range(4)))

    assert made == [DEFAULT_PROJECT_ID] * 4
    async with db.hot_connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM projects WHERE name = 'Default'") == 1


@pytest.mark.parametrize("name_or_id", [DEFAULT_PROJECT_ID, "Default"])
async def test_a_project_is_found_by_its_id_and_by_its_name(db: Database, name_or_id: str) -> None:
    assert await ProjectService(db).get_id(name_or_id) == DEFAULT_PROJECT_ID
    assert await ProjectService(db).exists(name_or_id) == (name_or_id == DEFAULT_PROJECT_ID)


async def test_of_two_projects_of_one_name_the_older_one_is_meant(db: Database) -> None:
    async with db.hot_connection() as connection:
        await connection.execute(
            "INSERT INTO projects VALUES ('proj_2', 'Twin', '2026-02-01'), ('proj_1', 'Twin', '2026-01-01')"
        )
    try:
        assert await ProjectService(db).get_id("Twin") == "proj_1"
    finally:
        async with db.hot_connection() as connection:
            await connection.execute("DELETE FROM projects WHERE name = 'Twin'")


async def test_a_project_that_is_named_like_the_id_of_another_is_not_meant_by_it(db: Database) -> None:
    async with db.hot_connection() as connection:
        await connection.execute(
            "INSERT INTO projects VALUES ('proj_2', 'Research', '2026-02-01'), ('proj_1', 'proj_2', '2026-01-01')"
        )
    try:
        assert await ProjectService(db).get_id("proj_2") == "proj_2"
    finally:
        async with db.hot_connection() as connection:
            await connection.execute("DELETE FROM projects WHERE id IN ('proj_1', 'proj_2')")


async def test_a_project_that_is_not_there_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound, match="There is no project 'nobody'"):
        await ProjectService(db).get_id("nobody")
