"""A scriptable OpenAI-compatible upstream as a plain ASGI application: the demo, the tests' only fake, the benchmark.

It plays the other side, so it knows nothing of Weir; its account is the independent witness that Weir is compared with.
"""

import hmac
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from app.core.clock import utc_now
from app.simulator import account_page
from app.simulator.account import Account
from app.simulator.audio import answer_speech, answer_transcription
from app.simulator.call import Ending
from app.simulator.chat import Title, completion_body
from app.simulator.chat_request import read_chat_request
from app.simulator.chat_stream import ChunkFrames, send_stream
from app.simulator.completion import complete
from app.simulator.costs_page import costs_body
from app.simulator.delivery import EVENT_STREAM, Delivery
from app.simulator.embeddings import embeddings_body, read_embeddings_request
from app.simulator.exchange import ClientLeft, Dropped, Headers, HttpExchange, Receive, Scope, Send
from app.simulator.fields import Document, read_document, read_text
from app.simulator.form import Form
from app.simulator.images import DALL_E_DEFAULT, GPT_IMAGE_DEFAULT, answer_image_document, answer_image_form
from app.simulator.model_list import model_body, models_body
from app.simulator.moderation import MODEL_DEFAULT as MODERATION_DEFAULT
from app.simulator.moderation import answer_moderation
from app.simulator.refusal import Refusal, missing_parameter, wrong_key
from app.simulator.responses import PREFIX as RESPONSES
from app.simulator.responses import Responses
from app.simulator.script import read_script
from app.simulator.socket_peer import SocketPeer
from app.simulator.sockets import serve_socket
from app.simulator.stored_chats import PREFIX as CHATS
from app.simulator.stored_chats import StoredChats
from app.simulator.stored_objects import StoredObjects
from app.simulator.text_completion import answer_completion

_AnswerJson = Callable[[Delivery, Document, str], Awaitable[Ending]]
_MODELS: Final = "/v1/models"
_COSTS: Final = "/v1/organization/costs"


def create_simulator(*, api_key: str | None = None) -> "Simulator":
    """Return a new simulator with an empty account; with *api_key*, every other key is answered with a 401."""
    return Simulator(api_key=api_key)


class Simulator:
    """The ASGI application. `account` is public: it may be read and reset at any time."""

    def __init__(self, *, api_key: str | None = None) -> None:
        self.account = Account()
        self.stored = StoredObjects()
        self._responses, self._chats = Responses(), StoredChats()
        self._of_json: dict[tuple[str, str], _AnswerJson] = {
            **_OF_JSON,
            ("POST", CHATS): partial(_answer_chat, chats=self._chats),
            ("POST", RESPONSES): self._responses.create,
            ("POST", f"{RESPONSES}/compact"): self._responses.compact,
            ("POST", f"{RESPONSES}/input_tokens"): self._responses.count_input,
        }
        self.hang_seconds_max = 600.0
        self.is_stopping = False
        """Set by the server: connections that close from now on were closed by this side."""
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
            return
        if scope["path"] == account_page.PATH:
            await self._show_account(scope, send)
            return
        call = self.account.open(scope["method"], scope["path"], scope["headers"])
        exchange = HttpExchange(scope, receive, send, call, hang_seconds_max=self.hang_seconds_max)
        ending = Ending.CUT
        try:
            ending = await self._answer(exchange, scope["headers"])
        except ClientLeft:
            self.account.close(call, Ending.CUT if self.is_stopping else Ending.CLIENT_LEFT)
            await exchange.drop()
        except Dropped as dropped:
            self.account.close(call, dropped.ending)
            await exchange.drop()
        finally:
            self.account.close(call, ending)
            exchange.close()

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._authenticate(scope["headers"])
        except Refusal as refusal:
            await SocketPeer(scope, receive, send).refuse(refusal)
            return
        books, create = self.account, self._responses.create
        patience = self.hang_seconds_max
        await serve_socket(scope, receive, send, account=books, create=create, hang_seconds_max=patience)

    async def _answer(self, exchange: HttpExchange, headers: Headers) -> Ending:
        delivery = Delivery(exchange)
        try:
            body = await exchange.read_body()
            self._authenticate(headers)
            return await self._route(delivery, body, _find(headers, b"x-simulator"))
        except Refusal as refusal:
            return await delivery.send_refusal(refusal)

    async def _route(self, delivery: Delivery, body: bytes, script: str | None) -> Ending:
        call = delivery.exchange.call
        if call.method == "GET" and (call.path == _MODELS or call.path.startswith(f"{_MODELS}/")):
            name, delivery.script = read_script(call.path[len(_MODELS) + 1 :], script)
            await delivery.wait_for_turn()
            return await delivery.send_json(model_body(name) if name else models_body())
        if call.method == "GET" and call.path == _COSTS:
            _, delivery.script = read_script("", script)
            await delivery.wait_for_turn()
            return await delivery.send_json(costs_body(self.account.costs, delivery.exchange.query))
        answer = self._of_json.get((call.method, call.path))
        answer_form = _OF_FORMS.get((call.method, call.path))
        default = {"model": _MODEL_DEFAULTS[call.path]} if call.path in _MODEL_DEFAULTS else {}
        if answer is not None and (delivery.exchange.form is None or answer_form is None):
            document = read_document(body)
            call.model, delivery.script = read_script(read_text(default | document, "model"), script)
            if not call.model:
                raise missing_parameter("model")
            return await answer(delivery, document, call.model)
        if answer_form is not None:
            form = delivery.exchange.form or Form()
            call.model, delivery.script = read_script(form.find("model") or read_text(default, "model"), script)
            return await answer_form(delivery, form, call.model)
        _, delivery.script = read_script("", script)
        if call.path.startswith(f"{RESPONSES}/"):
            return await self._responses.answer(delivery)
        if call.path == CHATS or call.path.startswith(f"{CHATS}/"):
            return await self._chats.answer(delivery, body)
        return await self.stored.answer(delivery, body)

    async def _show_account(self, scope: Scope, send: Send) -> None:
        try:
            self._authenticate(scope["headers"])
        except Refusal as refusal:
            await account_page.send_json(send, refusal.status, refusal.body)
        else:
            await account_page.send_account_page(self.account, scope["method"], scope["query_string"], send)

    def _authenticate(self, headers: Headers) -> None:
        if self._api_key is None:
            return
        scheme, _, key = (_find(headers, b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), self._api_key.encode()):
            raise wrong_key(key.strip())


def _find(headers: Headers, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


async def _answer_chat(delivery: Delivery, document: Document, model: str, chats: StoredChats) -> Ending:
    call, script = delivery.exchange.call, delivery.script
    request = read_chat_request(document)
    completion = complete(request, script, model, call.headers if script.echo_headers else {})
    call.stream = request.stream
    if script.generates:
        call.prompt_tokens, call.cached_tokens = completion.prompt_tokens, completion.cached_tokens
    await delivery.wait_for_turn()
    title = Title(f"chatcmpl-{call.id.removeprefix('req_')}", model, int(utc_now().timestamp()))
    body = completion_body(completion, title, with_usage=not script.no_usage)
    chats.keep(body, document)
    if request.stream:
        frames = ChunkFrames(completion, title, include_usage=request.include_usage and not script.no_usage)
        await delivery.start(200, EVENT_STREAM)
        return await send_stream(delivery.exchange, completion, script, frames)
    call.completion_tokens = completion.hidden_tokens + completion.visible_tokens
    return await delivery.send_json(body, completion_tokens=completion.visible_tokens)


async def _answer_embeddings(delivery: Delivery, document: Document, model: str) -> Ending:
    call, script = delivery.exchange.call, delivery.script
    request = read_embeddings_request(document)
    prompt_tokens = request.count_tokens() if script.prompt_tokens is None else script.prompt_tokens
    if script.generates:
        call.prompt_tokens = prompt_tokens
    await delivery.wait_for_turn()
    return await delivery.send_json(embeddings_body(request, model, None if script.no_usage else prompt_tokens))


_OF_JSON: Final[dict[tuple[str, str], _AnswerJson]] = {
    ("POST", "/v1/audio/speech"): answer_speech,
    ("POST", "/v1/completions"): answer_completion,
    ("POST", "/v1/embeddings"): _answer_embeddings,
    ("POST", "/v1/images/edits"): answer_image_document,
    ("POST", "/v1/images/generations"): answer_image_document,
    ("POST", "/v1/moderations"): answer_moderation,
}
"""Endpoints whose requests are JSON with a model in it."""
_OF_FORMS: Final[dict[tuple[str, str], Callable[[Delivery, Form, str], Awaitable[Ending]]]] = {
    ("POST", "/v1/audio/transcriptions"): answer_transcription,
    ("POST", "/v1/audio/translations"): answer_transcription,
    ("POST", "/v1/images/edits"): answer_image_form,
    ("POST", "/v1/images/variations"): answer_image_form,
}
"""Those whose requests are multipart forms with a model in it."""
_MODEL_DEFAULTS: Final = {
    "/v1/images/edits": GPT_IMAGE_DEFAULT,
    "/v1/images/generations": GPT_IMAGE_DEFAULT,
    "/v1/images/variations": DALL_E_DEFAULT,
    "/v1/moderations": MODERATION_DEFAULT,
}
"""Of requests that need not name one."""
