"""`weir secrets rotate` as a person runs it, with Weirs that have the one key, both, or the other."""

import asyncio

from pydantic import SecretStr

from app.core.crypto import CannotDecrypt, SecretBox
from app.settings import Settings
from app.upstreaming import secret_box
from tests.fixtures.upstreams import SECOND_KEY, Managed
from tests.fixtures.weir import with_changes
from tests.process.conftest import Finished, WeirCommand

FIRST, SECOND = "the-first-key-of-32-characters-or-more", "the-second-key-of-32-characters-or-more"


async def readable(managed: Managed, settings: Settings, key: str | None, *previous: str) -> list[bool]:
    """Tell of each credential whether a Weir with these keys can decrypt it."""
    secrets = {"secrets.key": key and SecretStr(key), "secrets.previous_keys": tuple(map(SecretStr, previous))}
    box = secret_box(with_changes(settings, {**secrets, "keys.pepper": SecretStr("another pepper")}))
    rows = await managed.weir.sql("SELECT id, api_key_encrypted FROM upstreams WHERE api_key_encrypted IS NOT NULL")
    return [_decrypts(box, row["api_key_encrypted"], row["id"]) for row in rows]


def said_last(finished: Finished) -> str:
    """Return the last line of the output: the Weir in this process may have logged something before."""
    return finished.output.splitlines()[-1]


def _decrypts(box: SecretBox, sealed: bytes, upstream_id: str) -> bool:
    try:
        return box.decrypt(sealed, upstream_id) == SECOND_KEY
    except CannotDecrypt:
        return False


async def test_credentials_come_under_a_new_key_and_the_old_ones_are_not_needed_any_more(
    managed: Managed, weir_command: WeirCommand, external: dict[str, str], settings: Settings
) -> None:
    await managed.add()
    await managed.add(name="keyless", api_key=None, test=False)

    # The pepper's, which is what there is without a setting; then the first, then the second.
    first = await asyncio.to_thread(weir_command, "secrets", "rotate", **external, WEIR_SECRETS__KEY=FIRST)
    assert (first.status, said_last(first)) == (0, "1 encrypted anew, 0 were under this key already.")
    assert await readable(managed, settings, FIRST) == [True]
    assert await readable(managed, settings, SECOND) == [False]

    again = await asyncio.to_thread(weir_command, "secrets", "rotate", **external, WEIR_SECRETS__KEY=FIRST)
    assert said_last(again) == "0 encrypted anew, 1 were under this key already."

    both = {"WEIR_SECRETS__KEY": SECOND, "WEIR_SECRETS__PREVIOUS_KEYS": f'["{FIRST}"]'}
    second = await asyncio.to_thread(weir_command, "secrets", "rotate", **external, **both)
    assert said_last(second) == "1 encrypted anew, 0 were under this key already."
    assert await readable(managed, settings, FIRST) == [False]
    assert await readable(managed, settings, SECOND) == [True]

    [made] = [each for each in (await managed.call("GET")).json()["data"] if each["name"] == "second"]
    assert made["state"] == "credential_unreadable"  # that Weir has not been given the second key
    events = await managed.weir.sql("SELECT details FROM audit_entries WHERE event = 'secrets.rotated'")
    assert len(events) == 3
    for said in (first, again, second):
        assert SECOND_KEY not in said.output + said.errors


async def test_a_credential_that_no_key_can_decrypt_is_named_and_the_others_come_along(
    managed: Managed, weir_command: WeirCommand, external: dict[str, str], settings: Settings
) -> None:
    await managed.add()
    await asyncio.to_thread(weir_command, "secrets", "rotate", **external, WEIR_SECRETS__KEY=FIRST)
    await managed.add(name="third")

    rotated = await asyncio.to_thread(weir_command, "secrets", "rotate", **external, WEIR_SECRETS__KEY=SECOND)

    assert rotated.status == 1
    # Beside what the other Weir in this process logs.
    assert "1 encrypted anew, 0 were under this key already.\nsecond: cannot be decrypted" in rotated.output
    assert sorted(await readable(managed, settings, SECOND)) == [False, True]
