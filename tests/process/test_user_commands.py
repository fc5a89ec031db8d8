"""`weir users` as people run it: on the database of the settings, one line for each failure."""

from app.settings import Settings
from tests.embedded.probes import fetch
from tests.process.conftest import WeirCommand


def test_an_owner_is_made_listed_and_not_made_twice(
    weir_command: WeirCommand, settings: Settings, external: dict[str, str]
) -> None:
    database_url = external["WEIR_DATABASE_URL"]
    fetch(database_url, "TRUNCATE users CASCADE")
    create = ("users", "create-admin", "--email", "ada@example.com", "--generate-password")

    made = weir_command(*create, **external)
    listed = weir_command("users", "list", **external)
    twice = weir_command(*create, **external)

    assert (made.status, listed.status, twice.status) == (0, 0, 1)
    assert "Password (shown once): " in made.output
    assert "owner   ada@example.com  ada" in listed.output
    assert twice.errors.strip() == "weir: There is a person with this e-mail address already."
    fetch(database_url, "TRUNCATE users CASCADE")
    fetch(database_url, "DELETE FROM project_members")


def test_an_admin_key_is_made_for_nobody_whose_it_would_not_work_for(
    weir_command: WeirCommand, external: dict[str, str]
) -> None:
    weir_command("migrate", **external)
    create = ("keys", "create", "--name", "x", "--admin", "--user", "user_misspelt")
    refused = weir_command(*create, **external)
    assert (refused.status, refused.output) == (1, "")
    assert "'user_misspelt' is not an owner of the organization" in refused.errors
