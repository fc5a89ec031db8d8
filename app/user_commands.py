"""`weir users`: the first owner of the organization, a forgotten password, and who there is.

A password is asked for without showing it, or made and shown once; it is never an argument that others could see.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from app.core import schema
from app.core.clock import utc_now
from app.core.pagination import Paging
from app.first_run import open_database
from app.identity.people_service import PeopleService
from app.identity.person import NewUser, UserRecord, normalized_email, normalized_name
from app.people import People, build_people, projects_for_people
from app.projects.member_service import MemberService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.settings import Settings

Result = TypeVar("Result")
Run = Callable[[Callable[[Settings], Awaitable[Any]]], Any]
"""Runs work with complete settings, on the servers of a Weir that runs or on ones started for it."""

_PAGE: Final = 100


def _email(text: str) -> str:
    return _checked(normalized_email, text)


def _name(text: str) -> str:
    return _checked(normalized_name, text)


Email = Annotated[str, typer.Option(help="E-mail address.", parser=_email)]
Generated = Annotated[bool, typer.Option("--generate-password", help="Make a password and print it, once.")]


def user_commands(run: Run) -> typer.Typer:
    """Return the commands, which do their work with *run*."""
    users = typer.Typer(no_args_is_help=True, help="Make owners, set passwords, list people.")

    @users.command("create-admin")
    def create_admin(
        email: Email,
        name: Annotated[
            str | None, typer.Option(help="Name; what stands before the @ unless given.", parser=_name)
        ] = None,
        generate_password: Generated = False,
    ) -> None:
        """Make an owner of the organization, who may do everything, and a member of the default project."""
        password = _password(generate=generate_password)
        user: UserRecord = run(
            lambda settings: _create_owner(settings, email, name or email.partition("@")[0], password)
        )
        typer.echo(f"{user.email} is an owner of the organization ({user.id}).")

    @users.command("set-password")
    def set_password(email: Email, generate_password: Generated = False) -> None:
        """Replace the password of a person, and end their sessions."""
        password = _password(generate=generate_password)
        run(lambda settings: _with_people(settings, lambda people: people.users.set_password(email, password)))
        typer.echo(f"{email} has a new password.")

    @users.command("list")
    def list_users() -> None:
        """List everybody in the organization."""
        found: list[UserRecord] = run(lambda settings: _with_people(settings, _everybody))
        lines = [f"{user.id}  {user.role:6}  {user.email}  {user.name}" for user in found]
        typer.echo("\n".join(lines) or "There is nobody yet: `weir users create-admin --email you@example.com`.")

    return users


def _checked(normalized: Callable[[str], str], text: str) -> str:
    try:
        return normalized(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _password(*, generate: bool) -> str:
    if not generate:
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    made = secrets.token_urlsafe(18)
    typer.echo(f"Password (shown once): {made}")
    return made


async def _create_owner(settings: Settings, email: str, name: str, password: str) -> UserRecord:
    async def create(people: People) -> UserRecord:
        new = NewUser(email, name, "owner", await people.users.digest(password))
        return await people.users.add(new, {DEFAULT_PROJECT_ID: "owner"})

    return await _with_people(settings, create)


async def _everybody(people: People) -> list[UserRecord]:
    found: list[UserRecord] = []
    has_more = True
    while has_more:
        page = await people.users.list_users([], Paging(found[-1].id if found else None, _PAGE))
        found += page.items
        has_more = page.has_more
    return found


async def _with_people(settings: Settings, work: Callable[[People], Awaitable[Result]]) -> Result:
    db = open_database(settings)
    try:
        await schema.check(db)
        projects = ProjectService(db)
        await projects.create_default()
        members = MemberService(db, projects, PeopleService(db))
        people = build_people(settings, db, projects_for_people(projects, members), utc_now)
        return await work(people)
    finally:
        await db.close()
