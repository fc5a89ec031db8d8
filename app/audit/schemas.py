"""The audit log on the wire, in OpenAI's shape; what Weir adds is `request_id`, and the address of every actor.

https://platform.openai.com/docs/api-reference/audit-logs
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator
from pydantic.config import JsonDict

from app.audit.entry import AuditQuery, AuditRecord
from app.core.pagination import Page
from app.core.shape import Shape

_Name = Annotated[str, StringConstraints(min_length=1, max_length=320, pattern=r"^[^\x00]*$")]
_Names = Annotated[list[_Name], Field(max_length=100)]
_UnixSeconds = Annotated[int, Field(ge=0, le=4_102_444_800)]
_SECOND: Final = timedelta(seconds=1)
_EXAMPLE: Final[JsonDict] = {
    "id": "audit_9b1f",
    "type": "spend_alert.created",
    "effective_at": 1795392000,
    "actor": {"type": "api_key", "api_key": {"id": "key_f4ae", "ip_address": "203.0.113.9", "user_agent": "curl/8"}},
    "project": {"id": "proj_1"},
    "request_id": "req_a81b",
    "spend_alert.created": {"id": "alert_3c1d", "data": {"threshold_amount": 20000, "recipients": ["a@example.com"]}},
}


class AuditLogsQuery(Shape):
    """Filters, all of which must hold, and a page. What does not exist is refused: it would filter nothing."""

    model_config = ConfigDict(extra="forbid")

    after_moment: _UnixSeconds | None = Field(None, alias="effective_at[gt]", description="Only after this second.")
    from_moment: _UnixSeconds | None = Field(None, alias="effective_at[gte]", description="Only from this second on.")
    before_moment: _UnixSeconds | None = Field(None, alias="effective_at[lt]", description="Only before this second.")
    until_moment: _UnixSeconds | None = Field(None, alias="effective_at[lte]", description="Only until this second.")
    event_types: _Names = Field([], alias="event_types[]", description="Only events of these types.")
    project_ids: _Names = Field([], alias="project_ids[]", description="Only what happened in these projects.")
    actor_ids: _Names = Field([], alias="actor_ids[]", description="Only by these people, keys or sessions.")
    actor_emails: _Names = Field([], alias="actor_emails[]", description="Only by people with these addresses.")
    resource_ids: _Names = Field([], alias="resource_ids[]", description="Only what was done to these objects.")
    tenant_only: bool = Field(default=False, description="Must be false: there is nothing above the organization.")
    after: _Name | None = Field(None, description="The `last_id` of the page before.")
    before: _Name | None = Field(None, description="The `first_id` of the page after.")
    limit: int = Field(20, ge=1, le=100)

    @field_validator("tenant_only")
    @classmethod
    def _has_no_tenant(cls, tenant_only: bool) -> bool:
        if tenant_only:
            raise ValueError("must be false, as there are no tenants")
        return tenant_only

    def asked(self) -> AuditQuery:
        """Return the question."""
        begins = [_moment(self.from_moment), _moment(self.after_moment, _SECOND)]
        ends = [_moment(self.before_moment), _moment(self.until_moment, _SECOND)]
        return AuditQuery(
            events=self.event_types,
            project_ids=self.project_ids,
            actor_ids=self.actor_ids,
            actor_emails=self.actor_emails,
            resource_ids=self.resource_ids,
            since=max((moment for moment in begins if moment), default=None),
            until=min((moment for moment in ends if moment), default=None),
            after=self.after,
            before=self.before,
            limit=self.limit,
        )


class AuditLog(Shape):
    """One entry. The member that is named like its type says what was done: the object's `id`, and the details."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    id: str
    type: str
    effective_at: int = Field(description="Unix seconds.")
    actor: dict[str, Any] | None = Field(description="Null where Weir itself, or a command, did it.")
    project: dict[str, str] | None = None
    request_id: str | None = Field(description="The `x-request-id` of the answer to the request that did it.")

    @classmethod
    def of(cls, record: AuditRecord) -> "AuditLog":
        """Return *record* as it is shown."""
        done = {} if record.resource_id is None else {"id": record.resource_id}
        shown: dict[str, Any] = {
            "id": record.id,
            "type": record.event,
            "effective_at": int(record.effective_at.timestamp()),
            "actor": _actor(record),
            "request_id": record.request_id,
            record.event: {**done, **record.details},
        }
        if record.project_id is not None:
            shown["project"] = {"id": record.project_id}
        return cls(**shown)


class AuditLogList(Shape):
    """A page of entries, the newest first; ask for the next one with `after` set to `last_id`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [_EXAMPLE],
                "first_id": "audit_9b1f",
                "last_id": "audit_9b1f",
                "has_more": False,
            }
        }
    )

    object: Literal["list"]
    data: list[AuditLog]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[AuditRecord]) -> "AuditLogList":
        """Return *page* as it is shown."""
        data = [AuditLog.of(record) for record in page.items]
        first_id, last_id = (data[0].id, data[-1].id) if data else (None, None)
        return cls(object="list", data=data, first_id=first_id, last_id=last_id, has_more=page.has_more)


def _actor(record: AuditRecord) -> dict[str, Any] | None:
    """Return who it was: OpenAI knows keys and sessions."""
    if record.actor_kind == "system":
        return None
    user = {"id": record.actor_user_id, "email": record.actor_email}
    known = {
        "id": record.actor_id,
        "user": {name: value for name, value in user.items() if value is not None} or None,
        "ip_address": record.address,
        "user_agent": record.user_agent,
    }
    if record.actor_kind == "api_key" and known["user"]:
        known["type"] = "user"
    shown = {name: value for name, value in known.items() if value is not None}
    return {"type": record.actor_kind, record.actor_kind: shown}


def _moment(unix_seconds: int | None, more: timedelta = timedelta()) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC) + more
