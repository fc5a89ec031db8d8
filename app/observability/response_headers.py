"""The headers that every answer carries: its request id and what keeps browsers from doing harm with it."""

from typing import Final

RawHeaders = list[tuple[bytes, bytes]]

DOCS_PREFIXES: Final = ("/docs", "/redoc", "/static-offline-docs")

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_REPLACED: Final = frozenset({b"x-request-id", *(name for name, _ in _ALWAYS)})
_NO_STORE: Final = (b"cache-control", b"no-store")
_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# FastAPI writes a script with its settings into these pages; ReDoc styles itself and searches in a worker.
_DOCS_POLICY: Final = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)


def with_weir_headers(headers: RawHeaders, request_id: str, path: str) -> RawHeaders:
    """Return *headers* with Weir's own; an answer's own `cache-control` and `content-security-policy` stay.

    Names are in lower case everywhere in Weir, as ASGI has it.
    """
    names = {name for name, _ in headers}
    complete = [(b"x-request-id", request_id.encode("latin-1")), *_ALWAYS]
    complete += headers if names.isdisjoint(_REPLACED) else [each for each in headers if each[0] not in _REPLACED]
    if b"cache-control" not in names:
        complete.append(_NO_STORE)
    if b"content-security-policy" not in names:
        complete.append(_DOCS_POLICY if _is_docs(path) else _POLICY)
    return complete


def _is_docs(path: str) -> bool:
    return path.startswith(DOCS_PREFIXES) and any(path == p or path.startswith(f"{p}/") for p in DOCS_PREFIXES)
