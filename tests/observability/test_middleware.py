import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app import error_handlers
from app.core.ids import is_request_id
from app.core.money import Nano
from app.errors import UpstreamTimeout, UpstreamUnreachable
from app.observability.context import SCOPE_KEY, call_context

SECRET = "wk-0123456789abcdefghij"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"hello")(scope, receive, send)


async def test_an_answer_carries_a_request_id_of_its_own(ask: Any, watch: Any) -> None:
    answer = await ask(hello)
    assert answer.headers["x-request-id"].startswith("req_")
    assert watch.call["request_id"] == answer.headers["x-request-id"]


async def test_a_wellformed_id_of_the_caller_is_kept(ask: Any) -> None:
    answer = await ask(hello, headers={"x-request-id": "trace-me-0001"})
    assert answer.headers["x-request-id"] == "trace-me-0001"


@pytest.mark.parametrize(
    "bad", ["short", "has spaces in it", "x" * 129, "ümlaut-id-0001", '<script>alert("1")</script>']
)
async def test_a_malformed_id_of_the_caller_is_replaced(ask: Any, bad: str) -> None:
    answer = await ask(hello, headers={"x-request-id": bad.encode("latin-1")})
    assert answer.headers["x-request-id"] != bad
    assert is_request_id(answer.headers["x-request-id"])


async def test_an_id_set_inside_is_replaced(ask: Any, watch: Any) -> None:
    answer = await ask(Response(b"", headers={"X-Request-Id": "from-the-upstream"}))
    assert answer.headers.get_list("x-request-id") == [watch.call["request_id"]]


async def test_answers_carry_security_headers_once(ask: Any) -> None:
    answer = await ask(Response(b"", headers={"X-Frame-Options": "ALLOWALL", "x-content-type-options": "sniff"}))
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_an_answer_may_set_its_own_caching_and_policy(ask: Any) -> None:
    own = {"cache-control": "public, max-age=60", "content-security-policy": "default-src 'self'"}
    answer = await ask(Response(b"", headers=own))
    assert answer.headers.get_list("cache-control") == ["public, max-age=60"]
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/docs", True),
        ("/docs/oauth2-redirect", True),
        ("/redoc", True),
        ("/static-offline-docs/redoc.standalone.js", True),
        ("/docsome", False),
        ("/v1/docs", False),
    ],
)
async def test_only_the_documentation_may_run_inline_scripts(ask: Any, path: str, allowed: bool) -> None:
    answer = await ask(hello, path)
    assert ("script-src 'self' 'unsafe-inline'" in answer.headers["content-security-policy"]) is allowed


async def test_a_bug_is_answered_without_details_and_reported_once(ask: Any, watch: Any) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError(SECRET)

    answer = await ask(broken, "/v1/x")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "KeyError" not in answer.text
    (bug,) = (line for line in watch.lines if "exception" in line)
    assert "KeyError" in bug["exception"]
    assert SECRET not in bug["exception"]
    assert [(type(error), request_id) for error, request_id in watch.reports] == [
        (KeyError, answer.headers["x-request-id"])
    ]
    assert watch.call["error_code"] == "internal_error"
    assert watch.call["status"] == 500


async def test_an_operational_error_is_warned_of_and_counted(ask: Any, watch: Any) -> None:
    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        raise UpstreamUnreachable("no answer from 'a'") from ConnectionError("refused")

    answer = await ask(away)
    assert answer.status_code == 502
    (warning,) = (line for line in watch.lines if line["level"] == "warning")
    assert "no answer from 'a'" in warning["error"]
    assert "refused" in warning["error"]
    assert watch.sample("weir_operational_errors_total", code="upstream_unreachable") == 1
    assert watch.reports == []


def failing_midway(error: Exception) -> FastAPI:
    app = FastAPI()
    error_handlers.install(app)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            raise error

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


async def test_an_error_after_the_first_byte_breaks_the_connection(serving: Any, watch: Any) -> None:
    error = UpstreamTimeout("silent for too long")
    async with serving(watch.around(failing_midway(error))) as port, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/stream")
    assert watch.sample("weir_operational_errors_total", code="upstream_timeout") == 1
    assert watch.reports == []
    assert watch.call["error_code"] == "upstream_timeout"
    assert watch.call["status"] == 200
    assert watch.call["bytes_sent"] == len(b"data: 1\n\n")


async def test_a_bug_after_the_first_byte_is_reported_and_breaks_the_connection(serving: Any, watch: Any) -> None:
    async with serving(watch.around(failing_midway(ZeroDivisionError()))) as port, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/stream")
    assert [type(error) for error, _ in watch.reports] == [ZeroDivisionError]
    assert len([line for line in watch.lines if "exception" in line]) == 1
    assert watch.call["error_code"] == "internal_error"


async def test_a_client_that_leaves_a_stream_is_noted(serving: Any, watch: Any) -> None:
    ended = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with serving(watch.around(endless)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await writer.drain()
        writer.close()
        await ended.wait()
    assert watch.call["client_left"] is True


async def test_a_client_that_leaves_during_its_upload_is_no_bug(watch: Any) -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    await watch.around(reading)(http_scope("/"), never, ignore)
    assert watch.call["client_left"] is True
    assert watch.call["status"] is None
    assert watch.reports == []


async def test_a_connection_that_ends_after_the_answer_did_not_lose_its_client(watch: Any) -> None:
    async def lingering(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await receive()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    await watch.around(lingering)(http_scope("/"), gone, ignore)
    assert "client_left" not in watch.call


async def test_a_cancelled_call_passes_the_cancellation_on_and_is_logged(watch: Any) -> None:
    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await watch.around(cancelled)(http_scope("/x"), never, ignore)
    assert watch.call["path"] == "/x"
    assert watch.call["status"] is None


async def test_the_line_says_what_the_gateway_learned(ask: Any, watch: Any) -> None:
    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        call = call_context(scope)
        call.operation, call.model, call.upstream, call.outcome = "chat", "gpt-5-mini", "openai", "completed"
        call.key_id, call.project_id, call.streamed = "key_1", "proj_1", True
        call.input_tokens, call.output_tokens, call.cost_nano = 12, 34, Nano(5600)
        call.upstream_seconds = 0.25
        await hello(scope, receive, send)

    await ask(gateway, "/v1/chat/completions", "POST")
    expected = {
        "level": "info",
        "method": "POST",
        "path": "/v1/chat/completions",
        "route": "",
        "status": 200,
        "operation": "chat",
        "model": "gpt-5-mini",
        "upstream": "openai",
        "outcome": "completed",
        "key_id": "key_1",
        "project_id": "proj_1",
        "streamed": True,
        "input_tokens": 12,
        "output_tokens": 34,
        "cost_nano": 5600,
        "upstream_ms": 250.0,
        "bytes_sent": 5,
    }
    assert expected.items() <= watch.call.items()
    assert watch.call.keys() - expected.keys() == {"timestamp", "event", "request_id", "duration_ms", "first_byte_ms"}
    assert watch.sample("weir_calls_total", operation="chat", model="gpt-5-mini", outcome="completed") == 1


async def test_the_line_never_holds_a_query_string_a_header_or_a_body(ask: Any, watch: Any) -> None:
    secret = "hush-hush-0001"
    await ask(hello, f"/v1/files?after={secret}", "POST", headers={"user-agent": secret}, content=secret)
    assert secret not in watch.output.getvalue().decode()


async def test_a_key_in_the_path_is_redacted(ask: Any, watch: Any) -> None:
    await ask(hello, f"/v1/keys/{SECRET}")
    assert watch.call["path"] == "/v1/keys/[redacted]"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_are_logged_at_debug_only(ask: Any, watch: Any, path: str) -> None:
    await ask(hello, path)
    assert watch.lines == []
    watch.level = "debug"
    await ask(hello, path)
    assert watch.call["level"] == "debug"


async def test_the_route_is_the_whole_template_also_of_nested_routers(ask: Any, watch: Any) -> None:
    inner, outer, app = APIRouter(prefix="/files"), APIRouter(), FastAPI()

    @inner.get("/{file_id}")
    async def file(file_id: str) -> str:
        return file_id

    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/v1")
    await ask(app, "/v1/inner/files/file-123")
    assert watch.call["route"] == "/v1/inner/files/{file_id}"
    labels = {"handler": "/v1/inner/files/{file_id}", "method": "GET"}
    assert watch.sample("http_requests_total", status="2xx", **labels) == 1
    assert watch.sample("http_request_duration_seconds_count", **labels) == 1


async def test_the_route_of_an_app_without_routers_is_known_too(ask: Any, watch: Any) -> None:
    app = FastAPI()

    @app.get("/things/{thing_id}")
    async def thing(thing_id: str, request: Request) -> JSONResponse:
        return JSONResponse(call_context(request.scope).path)

    assert (await ask(app, "/things/1")).json() == "/things/1"
    assert watch.call["route"] == "/things/{thing_id}"


async def test_other_scopes_pass_untouched(watch: Any) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert receive is never
        assert send is ignore
        seen.append(scope)

    await watch.around(app)({"type": "lifespan", "path": "/", "headers": []}, never, ignore)
    assert SCOPE_KEY not in seen[0]
    assert watch.lines == []


async def test_a_websocket_is_a_call_from_its_opening_to_its_end(watch: Any) -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.send", "bytes": b"hello"})
        await send({"type": "websocket.close", "code": 1000})

    async def collect(message: Message) -> None:
        sent.append(message)

    await watch.around(app)({"type": "websocket", "path": "/v1/realtime", "headers": []}, never, collect)
    assert dict(sent[0]["headers"])[b"x-request-id"].startswith(b"req_")
    assert (watch.call["method"], watch.call["status"], watch.call["bytes_sent"]) == ("GET", 101, 10)


async def test_messages_of_extensions_pass(watch: Any) -> None:
    sent: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await hello(scope, receive, send)

    async def collect(message: Message) -> None:
        sent.append(message["type"])

    await watch.around(app)(http_scope("/"), never, collect)
    assert sent[0] == "http.response.early_hint"


def http_scope(path: str) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")], "query_string": b""}


async def never() -> Message:
    raise AssertionError("nobody reads here")


async def ignore(message: Message) -> None:
    pass
