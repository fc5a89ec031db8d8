"""The audit log in OpenAI's shape: `client.admin.organization.audit_logs` of its SDK."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.audit.schemas import AuditLogList, AuditLogsQuery
from app.deps import AuditDep
from app.observability.conditional import ConditionalRoute

router = APIRouter(prefix="/organization", tags=["Audit log"], route_class=ConditionalRoute)


# What is not known of an entry is absent, as in OpenAI's.
@router.get("/audit_logs", summary="Who changed what", response_model_exclude_unset=True)
async def list_audit_logs(query: Annotated[AuditLogsQuery, Query()], audit: AuditDep) -> AuditLogList:
    """Return changes of everything that is administered here, and sign-ins, the newest first."""
    return AuditLogList.of(await audit.list_entries(query.asked()))
