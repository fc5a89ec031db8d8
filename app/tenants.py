"""Puts together projects, the people in them, keys, and what is theirs: for the wiring, and for commands."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

from app.answers.policy_service import CACHES_CHANGED, CachePolicyService
from app.core.clock import Clock
from app.core.db import Database
from app.identity.people_service import PeopleService
from app.identity.session_service import PEOPLE_CHANGED
from app.keys.admin_service import KeyAdminService
from app.keys.caller import Caller
from app.keys.networks import is_neighbourhood
from app.keys.owned_key_service import OwnedKeyService
from app.keys.service import KEYS_CHANGED, KeyService
from app.keys.service_account_service import ServiceAccountService
from app.keys.use_service import KeyUseService
from app.limits.limit import Scope
from app.ownership.service import OwnershipService
from app.projects.member_service import MEMBERS_CHANGED, MemberService
from app.projects.model_permission_service import ModelPermissionService
from app.projects.service import PROJECTS_CHANGED, ProjectService
from app.settings import Settings


@dataclass(frozen=True)
class Tenants:
    """Services of projects and what is theirs, what they listen to, and their work in the background."""

    projects: ProjectService
    members: MemberService
    model_permissions: ModelPermissionService
    cache_policies: CachePolicyService
    keys: KeyService
    key_admin: KeyAdminService
    owned_keys: OwnedKeyService
    service_accounts: ServiceAccountService
    key_use: KeyUseService
    ownership: OwnershipService
    exists: Mapping[Scope, Callable[[str], Awaitable[bool]]]
    """Tells of each scope whether there is one with an id."""
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
    cache_policies = CachePolicyService(db, projects)
    await cache_policies.load()
    keys = KeyService(db, projects, settings.keys, clock)
    key_admin = KeyAdminService(db, keys, projects, clock)
    service_accounts = ServiceAccountService(db, keys, projects, clock)

    async def is_address(text: str) -> bool:
        return is_neighbourhood(text)

    exists: dict[Scope, Callable[[str], Awaitable[bool]]] = {
        "address": is_address,
        "project": projects.exists,
        "user": people.exists,
        "service_account": service_accounts.exists,
        "api_key": keys.is_api_key,
    }
    key_use = KeyUseService(db, keys, settings.keys.last_used_interval_seconds, clock)
    ownership = OwnershipService(db, settings.gateway)
    return Tenants(
        projects=projects,
        members=members,
        model_permissions=model_permissions,
        cache_policies=cache_policies,
        keys=keys,
        key_admin=key_admin,
        owned_keys=OwnedKeyService(db, key_admin, projects, members, people),
        service_accounts=service_accounts,
        key_use=key_use,
        ownership=ownership,
        exists=exists,
        background=(
            model_permissions.keep_fresh,
            cache_policies.keep_fresh,
            keys.keep_renewed,
            key_use.keep_written,
            ownership.keep_purged,
        ),
        listeners=(
            (KEYS_CHANGED, keys.forget),
            (MEMBERS_CHANGED, members.forget),
            (MEMBERS_CHANGED, keys.forget_user),
            (PEOPLE_CHANGED, keys.forget_user),
            (PROJECTS_CHANGED, members.forget_project),
            (PROJECTS_CHANGED, keys.forget_project),
            (PROJECTS_CHANGED, model_permissions.expire),
            (CACHES_CHANGED, cache_policies.expire),
        ),
    )
