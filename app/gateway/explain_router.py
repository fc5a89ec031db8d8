"""Says what would become of a call, without making it."""

from fastapi import APIRouter, Request

from app.deps import GatewayDep, ProjectCallerDep
from app.gateway.explain_schemas import ExplanationView
from app.gateway.operations.chat import ChatCompletions
from app.gateway.schemas import CHAT_COMPLETIONS_DOCS
from app.observability.context import call_context

router = APIRouter(tags=["Budgets"])
_CHAT = ChatCompletions()


@router.post(
    "/gateway/explain",
    summary="What would become of a call",
    openapi_extra=CHAT_COMPLETIONS_DOCS["openapi_extra"],
)
async def explain(request: Request, caller: ProjectCallerDep, gateway: GatewayDep) -> ExplanationView:
    """Take the body of a chat completion and say what would become of it now, for this key: nothing is sent or held.

    Which upstream would get it, the most that it can cost, the maximum that would be set for its output, every budget
    that it counts in and how each stands, and the decision.
    """
    read = _CHAT.read(await request.body(), request.headers)
    return ExplanationView.of(await gateway.explain(caller, _CHAT, read, call_context(request.scope)))
