"""Service accounts in OpenAI's shape: `client.admin.organization.projects.service_accounts` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.version_tags import record_tag
from app.core.wire import Deleted, Id, ListQuery
from app.deps import IfMatch, ProjectId, ServiceAccountsDep
from app.keys.record import AccountRecord
from app.keys.service_account_schemas import (
    AccountKeyCreation,
    NewAccountKey,
    NewServiceAccount,
    ServiceAccount,
    ServiceAccountCreation,
    ServiceAccountList,
    ServiceAccountUpdate,
)
from app.observability.conditional import ConditionalRoute

router = APIRouter(
    prefix="/organization/projects/{project_id}/service_accounts",
    tags=["Service accounts"],
    route_class=ConditionalRoute,
)

_AccountId = Annotated[Id, Path()]


@router.get("", summary="List a project's service accounts")
async def list_accounts(
    project_id: ProjectId, query: Annotated[ListQuery, Query()], accounts: ServiceAccountsDep
) -> ServiceAccountList:
    """Return the programs of a project, oldest first."""
    return ServiceAccountList.of(await accounts.list_accounts(project_id, query.paging()))


@router.post("", summary="Make a service account")
async def create_account(
    project_id: ProjectId, body: ServiceAccountCreation, accounts: ServiceAccountsDep
) -> NewServiceAccount:
    """Make a program in a project, and its first key: `api_key.value` is shown this once."""
    return NewServiceAccount.made(*await accounts.create(project_id, body.name, body.first_key()))


@router.get("/{service_account_id}", summary="One service account")
async def get_account(
    project_id: ProjectId, service_account_id: _AccountId, response: Response, accounts: ServiceAccountsDep
) -> ServiceAccount:
    """Return a program of a project."""
    return _account(await accounts.get(project_id, service_account_id), response)


@router.post("/{service_account_id}", summary="Change a service account")
async def update_account(
    project_id: ProjectId,
    service_account_id: _AccountId,
    body: ServiceAccountUpdate,
    response: Response,
    accounts: ServiceAccountsDep,
    if_match: IfMatch = None,
) -> ServiceAccount:
    """Set its name, its role, or both."""
    return _account(await accounts.update(project_id, service_account_id, body.columns(), if_match), response)


@router.delete("/{service_account_id}", summary="Delete a service account")
async def delete_account(
    project_id: ProjectId, service_account_id: _AccountId, accounts: ServiceAccountsDep, if_match: IfMatch = None
) -> Deleted:
    """End a program of a project: all its keys stop working within a second."""
    await accounts.delete(project_id, service_account_id, if_match)
    return Deleted(id=service_account_id, object="organization.project.service_account.deleted")


@router.post("/{service_account_id}/api_keys", summary="Make a key of a service account")
async def create_account_key(
    project_id: ProjectId, service_account_id: _AccountId, body: AccountKeyCreation, accounts: ServiceAccountsDep
) -> NewAccountKey:
    """Make one more key; its `value` is shown this once."""
    return NewAccountKey.of(*await accounts.create_key(project_id, service_account_id, body.new()))


def _account(account: AccountRecord, response: Response) -> ServiceAccount:
    response.headers["etag"] = record_tag(account)
    return ServiceAccount.of(account)
