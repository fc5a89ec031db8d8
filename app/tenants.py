"""Puts together projects, the people in them, and keys: for the wiring, and for commands."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from app.core.clock import Clock
from app.core.db import Database
from app.identity.people_service import PeopleService
from app.identity.session_service import PEOPLE_CHANGED
from app.keys.admin_service import KeyAdminService
from app.keys.caller import Caller
from app.keys.owned_key_service import OwnedKeyService
from app.keys.service import KEYS_CHANGED, KeyService
from app.keys.service_account_service import ServiceAccountService
from app.keys.use_service import KeyUseService
from app.projects.member_service import MEMBERS_CHANGED, MemberService
from app.projects.model_permission_service import ModelPermissionService
from app.projects.service import PROJECTS_CHANGED, ProjectService
from app.settings import Settings


@dataclass(frozen=True)
class Tenants:
    """The services of the features `projects` and `keys`, what they listen to, and their work in the background."""

    projects: ProjectService
    members: MemberService
    model_permissions: ModelPermissionService
    keys: KeyService
    key_admin: KeyAdminService
    owned_keys: OwnedKeyService
    service_accounts: ServiceAccountService
    key_use: KeyUseService
    background: Sequence[Callable[[], Coroutine[None, None, None]]]
    listeners: Sequence[tuple[str, Callable[[str], None]]]

    def allows(self, caller: Caller, model: str) -> bool:
        """Tell whether *caller* may call *model*: both its key and its project must allow it."""
        return self.model_permissions.allows(caller.project_id, caller.models, model)


async def build_tenants(settings: Settings, db: Database, clock: Clock) -> Tenants:
    """Return the services; somebody is to run what is for the background. Raises DatabaseUnavailable."""
    projects, people = ProjectService(db, clock), PeopleService(db)
    members = MemberService(db, projects, people, clock)
    model_permissions = ModelPermissionService(db, projects)
    await model_permissions.load()
    keys = KeyService(db, projects, people, settings.keys, clock)
    key_admin = KeyAdminService(db, keys, clock)
    key_use = KeyUseService(db, keys, settings.keys.last_used_interval_seconds, clock)
    return Tenants(
        projects=projects,
        members=members,
        model_permissions=model_permissions,
        keys=keys,
        key_admin=key_admin,
        owned_keys=OwnedKeyService(db, key_admin, projects, members, people),
        service_accounts=ServiceAccountService(db, keys, projects, clock),
        key_use=key_use,
        background=(model_permissions.keep_fresh, key_use.keep_written),
        listeners=(
            (KEYS_CHANGED, keys.forget),
            (MEMBERS_CHANGED, members.forget),
            (MEMBERS_CHANGED, keys.forget_user),
            (PEOPLE_CHANGED, keys.forget_user),
            (PROJECTS_CHANGED, members.forget_project),
            (PROJECTS_CHANGED, keys.forget_project),
            (PROJECTS_CHANGED, model_permissions.expire),
        ),
    )
