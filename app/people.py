"""Puts together what has to do with people: for the wiring, and for `weir users`, which runs without the rest."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

from app.core.clock import Clock
from app.core.db import Database, Transaction
from app.errors import InvalidRequest, NotFound
from app.identity.access_tokens import AccessTokens, derive_secret
from app.identity.attempts_service import AttemptsService
from app.identity.invite_service import InviteService
from app.identity.jwt import hmac_key
from app.identity.oidc_client import OidcClient
from app.identity.oidc_service import OidcService
from app.identity.password_service import PasswordService
from app.identity.person_service import PersonService
from app.identity.provider_key_service import ProviderKeyService
from app.identity.roles import Role
from app.identity.session_service import SessionService
from app.identity.sign_in_service import SignInService
from app.identity.user_service import Projects, UserService
from app.projects.member_service import MemberService
from app.projects.service import DEFAULT_PROJECT_ID, ProjectService
from app.settings import Settings


@dataclass(frozen=True)
class People:
    """The services of the feature `identity`, and the work they do in the background."""

    invites: InviteService
    persons: PersonService
    sessions: SessionService
    sign_in: SignInService
    users: UserService
    background: Sequence[Callable[[], Coroutine[None, None, None]]]
    close: Callable[[], None]


def build_people(settings: Settings, db: Database, projects: Projects, clock: Clock) -> People:
    """Return the services. Somebody is to run what is for the background, and to close them."""
    identity = settings.identity
    passwords = PasswordService(identity)
    sessions = SessionService(
        db, AccessTokens(_token_secrets(settings), identity.access_token_seconds), identity, clock
    )
    users = UserService(db, passwords, sessions, projects, clock)
    sign_in = SignInService(db, passwords, AttemptsService(db, identity, clock), sessions)
    background = [sign_in.keep_purged]
    oidc = None
    if settings.oidc.issuer is not None:
        keys = ProviderKeyService(OidcClient(settings.oidc), settings.oidc)
        oidc = OidcService(db, users, keys, projects, settings.oidc, clock)
        background.append(keys.keep_fresh)
    return People(
        invites=InviteService(db, users, sessions, projects, identity, clock),
        persons=PersonService(sessions, oidc),
        sessions=sessions,
        sign_in=sign_in,
        users=users,
        background=background,
        close=passwords.close,
    )


def projects_for_people(projects: ProjectService, members: MemberService) -> Projects:
    """Return what people need of projects."""

    async def is_open(tx: Transaction, project_id: str) -> bool:
        try:
            await projects.require_open(tx, project_id)
        except (NotFound, InvalidRequest):
            return False
        return True

    async def assign(tx: Transaction, user_id: str, roles: Mapping[str, Role | None]) -> None:
        in_order = sorted(roles.items())  # so that two of these never wait for each other
        await members.assign(tx, user_id, {each: role for each, role in in_order if await is_open(tx, each)})

    return Projects(DEFAULT_PROJECT_ID, is_open, assign, members.remove_everywhere)


def _token_secrets(settings: Settings) -> list[bytes]:
    """Return the secrets of access tokens, the one to sign with first; made from the peppers unless there are some.

    Raises ValueError for one that cannot be a secret, so that it stops the start and not the first person.
    """
    identity, keys = settings.identity, settings.keys
    given = [secret for secret in (identity.token_secret, *identity.previous_token_secrets) if secret is not None]
    derived = [pepper for pepper in (keys.pepper, *keys.previous_peppers) if pepper is not None]
    secrets = [secret.get_secret_value().encode() for secret in given]
    for secret in secrets:
        hmac_key(secret)
    return secrets or [derive_secret(pepper.get_secret_value().encode()) for pepper in derived]
