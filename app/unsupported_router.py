"""What OpenAI's administration API has and Weir has not: each answers what to use instead, to whoever may ask at all.

Mounted last, so that real routes win. The page `docs/reference/admin-api.md` is written from this table.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter

from app.errors import NotSupported

_ORGANIZATION: Final = "/organization"
_PROJECT: Final = "/organization/projects/{project_id}"
_ROLES_OF_PROJECT: Final = "/projects/{project_id}"

_TLS: Final = "TLS, and certificates of clients, are the business of the proxy in front of Weir."
_MEMBERS: Final = "Add people to a project one by one: /v1/organization/projects/{project_id}/users."
_RETENTION: Final = "Weir keeps no prompts and no answers; the receipts of calls stay."
_FIXED_ROLES: Final = "There are four roles, owner, admin, member and viewer, and they cannot be changed."
_MEMBERS_ROLE: Final = (
    "A person has one role in a project, which `role` sets: "
    "POST /v1/organization/projects/{project_id}/users/{user_id}."
)
_USED_TOOLS: Final = "What tools have cost is part of the costs: GET /v1/organization/costs."

# A path stands for all paths below it.
_WHOLE: Final = {
    f"{_ORGANIZATION}/certificates": _TLS,
    f"{_PROJECT}/certificates": _TLS,
    f"{_ORGANIZATION}/data_retention": _RETENTION,
    f"{_PROJECT}/data_retention": _RETENTION,
    f"{_ORGANIZATION}/external_keys": "Encrypt the disk of the database, or its tables, with what it offers for that.",
    f"{_ORGANIZATION}/external_storage": "Where Weir keeps its data is a matter of its settings.",
    f"{_ORGANIZATION}/groups": _MEMBERS,
    f"{_PROJECT}/groups": _MEMBERS,
    f"{_ROLES_OF_PROJECT}/groups": _MEMBERS,
    f"{_ROLES_OF_PROJECT}/roles": _FIXED_ROLES,
    f"{_ROLES_OF_PROJECT}/users": _MEMBERS_ROLE,
    f"{_PROJECT}/hosted_tool_permissions": "Choose the models that a project may call: "
    "/v1/organization/projects/{project_id}/model_permissions.",
    f"{_PROJECT}/service_tier_settings": "The caller chooses the service tier; budgets bound what it may cost.",
    f"{_ORGANIZATION}/workload_identity_providers": "Weir accepts tokens of the OpenID Connect issuer in its settings.",
}
_SINGLE: Final = {
    f"{_ORGANIZATION}/roles": (["POST"], _FIXED_ROLES),
    f"{_ORGANIZATION}/roles/{{role_id}}": (["POST", "DELETE"], _FIXED_ROLES),
    f"{_ORGANIZATION}/usage/code_interpreter_sessions": (["GET"], _USED_TOOLS),
    f"{_ORGANIZATION}/usage/file_search_calls": (["GET"], _USED_TOOLS),
    f"{_ORGANIZATION}/usage/web_search_calls": (["GET"], _USED_TOOLS),
    f"{_ORGANIZATION}/usage/vector_stores": (["GET"], "Weir keeps no vector stores."),
    f"{_ORGANIZATION}/usage/decisions": (["GET"], "Weir passes no decisions on."),
}

router = APIRouter(include_in_schema=False)


def _refuse(alternative: str) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise NotSupported(alternative)

    return refuse


def _add(path: str, methods: list[str], alternative: str) -> None:
    router.add_api_route(path, _refuse(alternative), methods=methods, response_model=None, summary=alternative)


for _path, _alternative in _WHOLE.items():
    for _place in (_path, f"{_path}/{{below:path}}"):
        _add(_place, ["GET", "POST", "DELETE"], _alternative)
for _path, (_methods, _alternative) in _SINGLE.items():
    _add(_path, _methods, _alternative)
