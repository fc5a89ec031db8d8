"""Weir: a self-hosted, OpenAI-compatible API gateway that keeps budgets and an exact ledger."""

from app.core.imports import leave_out, without

with without("rich"):  # for tracebacks in colour, which Weir's logs do not have: 4 MiB, and a tenth of a second
    import structlog as structlog

leave_out("pydantic.v1")  # FastAPI asks of every annotation whether it is one of its models: 2 MiB
