"""Unknown keys cost the database next to nothing, however many there are; keys that are known never pay for that."""

import asyncio
import secrets

import pytest
from pydantic import SecretStr

from app.core.clock import utc_now
from app.core.db import Database
from app.errors import Unauthenticated
from app.key_errors import TooManyUnknownKeys
from app.keys import tokens
from app.keys.service import KeyService
from app.keys.unknown import UnknownKeys
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.setting_groups import Keys as KeysSettings
from tests.fixtures.weir import StartWeir
from tests.keys.watched_database import WatchedDatabase

PER_MINUTE = 20


@pytest.fixture
def db(watched: WatchedDatabase) -> WatchedDatabase:
    return watched


@pytest.fixture
def keys(db: Database) -> KeyService:
    pepper = SecretStr("the-pepper-of-these-tests-is-long-enough")
    settings = KeysSettings(pepper=pepper, unknown_keys_per_minute=PER_MINUTE)
    return KeyService(db, ProjectService(db), settings, utc_now)


def unknown() -> str:
    """Return what looks like a key, faster than by minting one."""
    body = "wk-" + secrets.token_hex(28)[:55]
    return body + tokens._checksum(body)


async def refusal(keys: KeyService, token: str, address: str | None) -> str:
    try:
        await keys.authenticate(token, address)
    except (Unauthenticated, TooManyUnknownKeys) as error:
        return str(error.code)
    return "none"


async def test_of_10_000_unknown_keys_from_one_address_a_bounded_number_is_looked_up(
    keys: KeyService, db: WatchedDatabase
) -> None:
    answers = await asyncio.gather(*(refusal(keys, unknown(), "203.0.113.7") for _ in range(10_000)))

    assert answers.count("invalid_api_key") + answers.count("too_many_unknown_keys") == 10_000
    assert PER_MINUTE <= answers.count("invalid_api_key") < PER_MINUTE + 4
    assert 0 < len(db.statements) <= answers.count("invalid_api_key")


async def test_keys_that_are_known_go_on_working_from_an_address_that_sent_many_unknown_ones(
    keys: KeyService, db: WatchedDatabase
) -> None:
    minted = await keys.create("api", "known", project_id=DEFAULT_PROJECT_ID)
    cold = await keys.create("api", "not known here yet", project_id=DEFAULT_PROJECT_ID)
    assert await refusal(keys, minted.value, "203.0.113.7") == "none"
    for _ in range(PER_MINUTE):
        assert await refusal(keys, tokens.mint("api"), "203.0.113.7") == "invalid_api_key"

    assert await refusal(keys, tokens.mint("api"), "203.0.113.7") == "too_many_unknown_keys"
    assert await refusal(keys, cold.value, "203.0.113.7") == "too_many_unknown_keys"
    assert await refusal(keys, minted.value, "203.0.113.7") == "none"
    keys.forget("")  # known, but to be looked up again
    assert await refusal(keys, minted.value, "203.0.113.7") == "none"
    for elsewhere in ("203.0.113.8", "2001:db8::1", None):
        assert await refusal(keys, tokens.mint("api"), elsewhere) == "invalid_api_key"
    assert await refusal(keys, cold.value, "203.0.113.8") == "none"


async def test_a_key_that_was_unknown_a_moment_ago_is_not_looked_up_again(
    keys: KeyService, db: WatchedDatabase
) -> None:
    token = tokens.mint("admin")
    for _ in range(3 * PER_MINUTE):
        assert await refusal(keys, token, "203.0.113.7") == "invalid_api_key"
    assert len(db.statements) == 1

    keys.forget("key_something_changed")
    assert await refusal(keys, token, "203.0.113.7") == "invalid_api_key"
    assert len(db.statements) == 2


async def test_however_many_calls_come_at_once_with_a_key_it_is_looked_up_once(
    keys: KeyService, db: WatchedDatabase
) -> None:
    minted = await keys.create("admin", "an operator's")

    answers = await asyncio.gather(*(refusal(keys, minted.value, "203.0.113.7") for _ in range(500)))

    assert set(answers) == {"none"}
    assert len(db.statements) == 1


async def test_one_who_has_a_whole_network_of_ipv6_is_one_client(keys: KeyService) -> None:
    for number in range(PER_MINUTE):
        await refusal(keys, tokens.mint("api"), f"2001:db8:0:1::{number:x}")
    assert await refusal(keys, tokens.mint("api"), "2001:db8:0:1:ffff::1") == "too_many_unknown_keys"
    assert await refusal(keys, tokens.mint("api"), "2001:db8:0:2::1") == "invalid_api_key"


async def test_what_cannot_be_a_key_is_not_even_counted(keys: KeyService, db: WatchedDatabase) -> None:
    for _ in range(2 * PER_MINUTE):
        assert await refusal(keys, "wk-" + "a" * 61, "203.0.113.7") == "invalid_api_key"
    assert db.statements == []


async def test_the_refusal_says_how_long_to_wait(start_weir: StartWeir) -> None:
    keys = (await start_weir({})).settings.keys.model_copy(update={"unknown_keys_per_minute": 1})
    weir = await start_weir({"keys": keys})
    async with weir.http(tokens.mint("api")) as client:
        assert (await client.get("/v1/models")).status_code == 401
    async with weir.http(tokens.mint("api")) as client:
        answer = await client.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_unknown_keys")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["x-should-retry"] == "false"
    async with weir.http() as client:
        assert (await client.get("/v1/models")).status_code == 429


def test_the_minute_of_an_address_ends() -> None:
    unknown = UnknownKeys(per_minute=2, entries_max=10)
    for now in (0.0, 30.0):
        assert unknown.wait_seconds("a", now) == 0
        unknown.add(str(now).encode(), "a", now)
    assert unknown.wait_seconds("a", 45.0) == 15
    assert unknown.wait_seconds("b", 45.0) == 0
    assert unknown.wait_seconds("a", 60.0) == 0
    unknown.add(b"c", "a", 60.0)
    assert unknown.wait_seconds("a", 60.0) == 0
    unknown.add(b"d", "a", 61.0)
    assert unknown.wait_seconds("a", 61.0) == 59


def test_what_is_remembered_ages_and_is_bounded() -> None:
    unknown = UnknownKeys(per_minute=1, entries_max=2)
    unknown.add(b"a", "a", 0.0)
    assert unknown.has(b"a", 29.9)
    assert not unknown.has(b"a", 30.0)
    for name in ("b", "c", "d"):
        unknown.add(name.encode(), name, 1.0)
    assert [unknown.has(name, 2.0) for name in (b"a", b"b", b"c", b"d")] == [False, False, True, True]
    assert [unknown.wait_seconds(name, 2.0) > 0 for name in ("a", "b", "c", "d")] == [False, False, True, True]
    unknown.add(b"c", "c", 2.0)  # the newest now
    unknown.add(b"e", "e", 2.0)
    assert [unknown.has(name, 2.0) for name in (b"c", b"d", b"e")] == [True, False, True]
    unknown.clear()
    assert not unknown.has(b"c", 2.0)
    assert unknown.wait_seconds("c", 2.0) > 0
