"""A key may be used as long as it and its owner are in order: one statement says so of many keys."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.core.db import Database
from app.core.ids import new_id
from app.keys import caller_repository
from app.keys.service import KeyService
from app.projects.service import ProjectService
from app.setting_groups import Keys as KeysSettings

NOW = utc_now()
EVERYBODY = {"program", "person", "account", "operator"}
_THEIRS = {"person": ("user_id", "user"), "account": ("service_account_id", "svc"), "operator": ("user_id", "user")}


class Owners:
    """A project of a test's own with a person and a service account, and a key of everybody."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.ids = {kind: new_id(kind) for kind in ("proj", "user", "svc")}
        self._digests: dict[bytes, str] = {}

    async def sql(self, statements: str) -> None:
        """Run *statements*, in which `{proj}`, `{user}` and `{svc}` are the ids."""
        async with self._db.hot_connection() as connection:
            await connection.execute(statements.format(**self.ids))

    async def may_call(self, *more: bytes) -> set[str]:
        """Return whose keys may be used, looked up together, and with *more* that are nobody's."""
        keys = [(digest,) for digest in (*more, *self._digests)]
        async with self._db.hot_connection() as connection:
            found = await caller_repository.find_callers(connection, keys, NOW)
        assert all(digest == each.digest for (digest,), each in found.items())
        return {self._digests[digest] for (digest,) in found}

    async def make(self) -> None:
        await self.sql("""
            INSERT INTO projects (id, name) VALUES ('{proj}', 'P');
            INSERT INTO users (id, email, name, role) VALUES ('{user}', '{user}@example.org', 'U', 'owner');
            INSERT INTO project_members (project_id, user_id, role) VALUES ('{proj}', '{user}', 'member');
            INSERT INTO service_accounts (id, project_id, name, role) VALUES ('{svc}', '{proj}', 'S', 'member');
        """)
        settings = KeysSettings(pepper=SecretStr("the-pepper-of-these-tests-is-long-enough"))
        keys = KeyService(self._db, ProjectService(self._db), settings, lambda: NOW)
        for name in sorted(EVERYBODY):
            minted = await keys.create("admin" if name == "operator" else "api", name, project_id=self._project(name))
            self._digests[keys.digest(minted.value)] = name
            if name in _THEIRS:
                column, kind = _THEIRS[name]
                await self.sql(f"UPDATE api_keys SET {column} = '{{{kind}}}' WHERE id = '{minted.id}'")

    def _project(self, name: str) -> str | None:
        return None if name == "operator" else self.ids["proj"]


@pytest.fixture
async def owners(db: Database) -> AsyncIterator[Owners]:
    owners = Owners(db)
    await owners.make()
    yield owners
    await owners.sql("""
        DELETE FROM api_keys WHERE project_id = '{proj}' OR user_id = '{user}';
        DELETE FROM project_members WHERE project_id = '{proj}';
        DELETE FROM users WHERE id = '{user}';
        DELETE FROM service_accounts WHERE project_id = '{proj}';
        DELETE FROM projects WHERE id = '{proj}';
    """)


@pytest.mark.parametrize(
    ("change", "stopped"),
    [
        ("SELECT", set()),
        ("UPDATE projects SET archived_at = now() WHERE id = '{proj}'", {"program", "person", "account"}),
        ("UPDATE users SET disabled_at = now() WHERE id = '{user}'", {"person", "operator"}),
        ("UPDATE users SET role = 'admin' WHERE id = '{user}'", {"operator"}),
        ("UPDATE project_members SET role = 'viewer' WHERE user_id = '{user}'", {"person"}),
        ("UPDATE project_members SET role = 'owner' WHERE user_id = '{user}'", set()),
        ("DELETE FROM project_members WHERE user_id = '{user}'", {"person"}),
        ("UPDATE service_accounts SET role = 'none' WHERE id = '{svc}'", {"account"}),
        ("UPDATE service_accounts SET deleted_at = now() WHERE id = '{svc}'", {"account"}),
        ("UPDATE api_keys SET revoked_at = now() WHERE name = 'program' AND project_id = '{proj}'", {"program"}),
    ],
)
async def test_a_key_works_as_long_as_its_owner_is_in_order(owners: Owners, change: str, stopped: set[str]) -> None:
    await owners.sql(change)
    assert await owners.may_call(b"nobody's") == EVERYBODY - stopped


async def test_a_key_works_until_it_expires(owners: Owners) -> None:
    for left, stopped in ((timedelta(0), EVERYBODY), (timedelta(seconds=1), set())):
        moment = (NOW + left).isoformat()
        await owners.sql(
            f"UPDATE api_keys SET expires_at = '{moment}' WHERE project_id = '{{proj}}' OR user_id = '{{user}}'"
        )
        assert await owners.may_call() == EVERYBODY - stopped


async def test_the_value_before_a_rotation_works_until_it_ends_or_the_key_does(owners: Owners, db: Database) -> None:
    later, end = NOW + timedelta(hours=2), NOW + timedelta(hours=1)
    for previous_end, key_end, expected in (
        (end, None, [end, None]),
        (end, later, [end, later]),
        (later, end, [end, end]),
        (NOW, None, [None]),
        (later, NOW, []),
    ):
        async with db.hot_connection() as connection:
            await connection.execute(
                "UPDATE api_keys SET digest = 'new', previous_digest = 'old', previous_expires_at = $1, "
                "expires_at = $2 WHERE name = 'program' AND project_id = $3",
                previous_end,
                key_end,
                owners.ids["proj"],
            )
            found = await caller_repository.find_callers(connection, [(b"old",), (b"new",)], NOW)
        assert [each.caller.expires_at for each in found.values()] == expected
