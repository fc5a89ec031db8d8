"""Two projects behind one Weir: what one stores is not there for the other, and calls go where their objects are."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from app.projects.service import DEFAULT_PROJECT_ID
from app.simulator.app import Simulator, create_simulator
from app.simulator.server import serve_simulator
from app.upstreams.routing import Upstream
from tests.fixtures.canned import CannedUpstream, event
from tests.fixtures.weir import UPSTREAM_KEY, RunningWeir, StartWeir
from tests.gateway.socket_wire import opened

MODEL = "gpt-4o-mini"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
SECOND_MODEL = "second-model"


@pytest.fixture
async def ours(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    async with weir.openai() as client:
        yield client


@pytest.fixture
async def theirs(weir: RunningWeir) -> AsyncIterator[AsyncOpenAI]:
    async with weir.openai(api_key=await key_of_another_project(weir)) as client:
        yield client


async def key_of_another_project(weir: RunningWeir) -> str:
    project = await weir.wiring.tenants.projects.create("Another")
    return (await weir.wiring.keys.create("api", "another project's", project_id=project.id)).value


async def owned(weir: RunningWeir) -> dict[str, tuple[str, str]]:
    rows = await weir.sql("SELECT object_id, project_id, kind FROM owned_objects")
    return {row["object_id"]: (row["project_id"], row["kind"]) for row in rows}


async def test_a_response_is_there_for_its_project_and_for_no_other(
    weir: RunningWeir, ours: AsyncOpenAI, theirs: AsyncOpenAI
) -> None:
    response = await ours.responses.create(model=MODEL, input="A secret.")
    arrived = len(weir.arrivals)
    attempts: list[Any] = [
        lambda client, it: client.responses.retrieve(it),
        lambda client, it: client.responses.retrieve(it, stream=True),
        lambda client, it: client.responses.delete(it),
        lambda client, it: client.responses.cancel(it),
        lambda client, it: client.responses.input_items.list(it),
    ]
    for attempt in attempts:
        with pytest.raises(openai.NotFoundError) as refused:
            await attempt(theirs, response.id)
        with pytest.raises(openai.NotFoundError) as unknown:
            await attempt(theirs, "resp_nobody")
        assert str(refused.value).replace(response.id, "resp_nobody") == str(unknown.value)
    assert len(weir.arrivals) == arrived  # nothing was asked of the upstream
    assert (await ours.responses.retrieve(response.id)).output_text == response.output_text


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"previous_response_id": "RESPONSE"}, 400),
        ({"prompt_cache_options": {"comparison_response_id": "RESPONSE"}}, 400),
        ({"input": [{"type": "item_reference", "id": "ITEM"}]}, 404),
        ({"input": [{"type": "reasoning", "id": "ITEM", "summary": []}]}, 404),
        ({"conversation": "conv_x"}, 404),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-x"}]}]}, 404),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_x"]}]}, 404),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_x"}]}, 404),
        ({"prompt": {"id": "pmpt_1", "variables": {"doc": {"type": "input_file", "file_id": "file-x"}}}}, 404),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/responses", "/responses/input_tokens", "/responses/compact"])
async def test_nobody_can_name_what_is_another_projects_in_a_request(
    weir: RunningWeir, ours: AsyncOpenAI, theirs: AsyncOpenAI, named: dict[str, Any], status: int, path: str
) -> None:
    response = await ours.responses.create(model=MODEL, input="A secret.")
    text = orjson.dumps({"model": MODEL, "input": "Go on.", **named}).decode()
    body = orjson.loads(text.replace("RESPONSE", response.id).replace("ITEM", str(response.output[0].id)))
    arrived = len(weir.arrivals)
    with pytest.raises(openai.APIStatusError) as refused:
        await theirs.post(path, body=body, cast_to=object)

    assert refused.value.status_code == status
    assert refused.value.type == "invalid_request_error"
    assert len(weir.arrivals) == arrived
    assert len(await weir.entries()) == 1


@pytest.mark.parametrize(
    "session",
    [
        {"prompt": {"id": "pmpt_1", "variables": {"doc": {"type": "input_file", "file_id": "file-1"}}}},
        {"audio": {"output": {"voice": {"id": "file-1"}}}},
        {"voice": {"id": "file-1"}},
    ],
    ids=str,
)
async def test_a_realtime_session_cannot_name_what_is_another_projects(
    weir: RunningWeir, session: dict[str, Any]
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "file-1", "file", "openai")
    events: list[dict[str, Any]] = [
        {"type": "session.update", "session": {"type": "realtime", **session}},
        {"type": "response.create", "response": session},
    ]
    key = await key_of_another_project(weir)
    async with opened(weir, headers={"authorization": f"Bearer {key}"}) as theirs:
        await theirs.until("session.created")
        for each in events:
            await theirs.send(each)
            [refused] = await theirs.until("error")
            assert refused["error"]["message"].startswith("No such")
    async with opened(weir) as ours:
        await ours.send(events[0])
        assert [each["type"] for each in await ours.until("session.updated")] == ["session.created", "session.updated"]


async def test_chat_messages_cannot_name_another_projects_file(
    weir: RunningWeir, ours: AsyncOpenAI, theirs: AsyncOpenAI
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "file-1", "file", "openai")
    messages: Any = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    assert (await ours.chat.completions.create(model=MODEL, messages=messages)).choices
    with pytest.raises(openai.NotFoundError, match="No such File object: file-1"):
        await theirs.chat.completions.create(model=MODEL, messages=messages)
    twice = b'{"model":"m","messages":[{"role":"user","content":[{"file":{"file_id":"file-1","file_id":null}}]}]}'
    with pytest.raises(openai.BadRequestError, match="more than once"):
        await theirs.post("/chat/completions", content=twice, cast_to=object)


async def test_no_other_project_speaks_with_a_voice(weir: RunningWeir, ours: AsyncOpenAI, theirs: AsyncOpenAI) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "voice_1", "audio.voice", "openai")
    voice: Any = {"id": "voice_1"}
    sound: Any = {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": "wav"}}
    say: Any = {"model": "gpt-4o-mini-tts", "input": "Hello."}
    assert (await ours.audio.speech.create(**say, voice=voice)).read()
    assert (await ours.chat.completions.create(model=MODEL, messages=HELLO, **sound)).choices
    arrived = len(weir.arrivals)
    for refused in (
        theirs.audio.speech.create(**say, voice=voice),
        theirs.chat.completions.create(model=MODEL, messages=HELLO, **sound),
    ):
        with pytest.raises(openai.NotFoundError, match="voice_1"):
            await refused
    twice = b'{"model":"tts-1","input":"x","voice":{"id":"voice_1","id":"alloy"}}'
    with pytest.raises(openai.BadRequestError, match="more than once"):
        await theirs.post("/audio/speech", content=twice, cast_to=object)
    assert (await theirs.audio.speech.create(**say, voice="alloy")).read()
    assert len(weir.arrivals) == arrived + 1


async def test_a_response_and_its_items_are_recorded_by_the_time_that_their_ids_are_seen(
    weir: RunningWeir, ours: AsyncOpenAI
) -> None:
    stream = await ours.responses.create(model=MODEL, input="Hello.", stream=True)
    async for each in stream:
        if each.type == "response.created":
            assert (await owned(weir))[each.response.id] == (DEFAULT_PROJECT_ID, "response")
        if each.type == "response.completed":
            assert (await owned(weir))[str(each.response.output[0].id)] == (DEFAULT_PROJECT_ID, "item")
    tools: Any = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    run = await ours.responses.create(model=MODEL, input="Hello.", tools=tools, store=False)
    assert run.output[0].type == "code_interpreter_call"
    assert (await owned(weir))[run.output[0].container_id] == (DEFAULT_PROJECT_ID, "container")
    assert run.id not in await owned(weir)


async def test_a_chat_completion_is_recorded_only_when_it_is_stored(weir: RunningWeir, ours: AsyncOpenAI) -> None:
    await ours.chat.completions.create(model=MODEL, messages=HELLO)
    assert await owned(weir) == {}
    plain = await ours.chat.completions.create(model=MODEL, messages=HELLO, store=True)
    stream = await ours.chat.completions.create(model=MODEL, messages=HELLO, store=True, stream=True)
    async for piece in stream:
        assert (await owned(weir))[piece.id] == (DEFAULT_PROJECT_ID, "chat.completion")
    assert len(await owned(weir)) == 2
    assert plain.id in await owned(weir)


async def test_stored_chat_completions_are_got_listed_changed_and_deleted_by_their_project_alone(
    weir: RunningWeir, ours: AsyncOpenAI, theirs: AsyncOpenAI
) -> None:
    mine: list[str] = []
    others: list[str] = []
    for number in range(7):
        made = await (theirs if number % 2 else ours).chat.completions.create(
            model=MODEL, messages=HELLO, store=True, metadata={"number": str(number)}
        )
        (others if number % 2 else mine).append(made.id)
    assert [each.id async for each in ours.chat.completions.list(limit=2)] == mine
    assert [each.id async for each in theirs.chat.completions.list(limit=3, order="desc")] == others[::-1]
    page = await ours.chat.completions.list(limit=3)
    assert page.has_more
    raw = await ours.chat.completions.with_raw_response.list(limit=4)
    document = raw.http_response.json()
    assert (document["first_id"], document["last_id"], document["has_more"]) == (mine[0], mine[-1], False)

    changed = await ours.chat.completions.update(mine[0], metadata={"number": "new"})
    assert changed.to_dict()["metadata"] == {"number": "new"}
    assert (await ours.chat.completions.retrieve(mine[0])).to_dict()["metadata"] == {"number": "new"}
    assert [each.content async for each in ours.chat.completions.messages.list(mine[0])] == ["Say hello."]
    for attempt in (
        theirs.chat.completions.retrieve(mine[0]),
        theirs.chat.completions.update(mine[0], metadata={}),
        theirs.chat.completions.messages.list(mine[0]),
        theirs.chat.completions.delete(mine[0]),
        theirs.chat.completions.list(after=mine[0]),
    ):
        with pytest.raises(openai.NotFoundError, match=f"Completion with id '{mine[0]}' not found"):
            await attempt
    assert (await ours.chat.completions.delete(mine[0])).deleted
    assert mine[0] not in await owned(weir)
    assert [each.id async for each in ours.chat.completions.list()] == mine[1:]


@pytest.mark.parametrize("query", ["limit=-1", "limit=101", "limit=x", "limit=99999999999"])
async def test_a_page_of_an_impossible_size_is_refused(ours: AsyncOpenAI, query: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ours.get(f"/chat/completions?{query}", cast_to=object)
    assert refused.value.param == "limit"


async def test_without_isolation_an_id_is_all_it_takes(start_weir: StartWeir) -> None:
    weir = await start_weir({"gateway.isolation": "off"})
    async with weir.openai() as ours, weir.openai(api_key=await key_of_another_project(weir)) as theirs:
        response = await ours.responses.create(model=MODEL, input="Hello.")
        assert (await theirs.responses.retrieve(response.id)).id == response.id
        assert (await theirs.responses.create(model=MODEL, input="On.", previous_response_id=response.id)).id
        await weir.sql("DELETE FROM owned_objects WHERE object_id = $1", response.id)
        assert (await theirs.responses.retrieve(response.id)).id == response.id
        assert (await theirs.responses.create(model=MODEL, input="On.", previous_response_id=response.id)).id
        with pytest.raises(openai.NotFoundError):
            await theirs.responses.retrieve("resp_nobody")
        stored = await ours.chat.completions.create(model=MODEL, messages=HELLO, store=True)
        assert stored.id in [each.id async for each in theirs.chat.completions.list()]


@pytest.fixture
async def second(weir: RunningWeir) -> AsyncIterator[Simulator]:
    """Put a second upstream behind `weir`, for every model and alone for one."""
    simulator = create_simulator(api_key=UPSTREAM_KEY)
    directory = weir.wiring.upstreams._directory
    async with serve_simulator(simulator) as base_url:
        directory.replace([Upstream("second", base_url, UPSTREAM_KEY, models=("*",), priority=1)])
        yield simulator
    directory.replace([])


async def made_at_the_second(weir: RunningWeir, ours: AsyncOpenAI, second: Simulator) -> Any:
    """Return a response that the second upstream has."""
    directory = weir.wiring.upstreams._directory
    both = directory.upstreams
    directory.set(both[1:])
    try:
        response = await ours.responses.create(model=MODEL, input="Hello.")
    finally:
        directory.set(both)
    assert second.account.arrived_count == 1
    return response


@pytest.mark.parametrize("end", [b"\n\n", b"\n"], ids=["whole", "without the empty line"])
@pytest.mark.parametrize("is_resumed", [False, True], ids=["made", "resumed"])
async def test_what_the_last_event_of_a_stream_names_is_the_projects(
    canned_weir: RunningWeir, canned: CannedUpstream, is_resumed: bool, end: bytes
) -> None:
    begun: Any = {"id": "resp_1", "object": "response", "model": MODEL, "output": [], "usage": None}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    ran = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}
    last = {"type": "response.completed", "sequence_number": 9, "response": {**begun, "output": [message, ran]}}
    async with canned_weir.openai() as client:
        if is_resumed:
            canned.answers_json(begun)
            await client.responses.create(model=MODEL, input="Hello.")
        canned.streams(b"event: response.completed\ndata: " + orjson.dumps(last) + end)
        if is_resumed:
            stream = await client.responses.retrieve("resp_1", stream=True, starting_after=3)
        else:
            stream = await client.responses.create(model=MODEL, input="Hello.", stream=True)
        async for _ in stream:
            assert {"resp_1", "msg_1", "ci_1", "cntr_1"} <= (await owned(canned_weir)).keys()
        canned.answers_json(begun)
        await client.responses.create(model=MODEL, input=[{"type": "item_reference", "id": "msg_1"}])


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_was_spoken_is_gone_on_from_by_its_project_only(
    canned_weir: RunningWeir, canned: CannedUpstream, streamed: bool
) -> None:
    aloud: Any = {"model": MODEL, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    said = {"id": "audio_1", "data": "AAAA", "transcript": "A secret."}
    completion: Any = {"id": "chatcmpl-1", "object": "chat.completion", "model": MODEL}
    if streamed:
        chunk = {**completion, "choices": [{"index": 0, "delta": {"role": "assistant", "audio": said}}]}
        canned.streams(event(chunk), event({**completion, "choices": [], "usage": None}), event(b"[DONE]"))
    else:
        canned.answers_json({**completion, "choices": [{"index": 0, "message": {"role": "assistant", "audio": said}}]})
    async with canned_weir.openai() as ours:
        answer: Any = await ours.chat.completions.create(**aloud, messages=HELLO, stream=streamed)
        if streamed:
            assert [event.object async for event in answer] == ["chat.completion"] * 2
        assert await owned(canned_weir) == {"audio_1": (DEFAULT_PROJECT_ID, "audio")}
        again: Any = [*HELLO, {"role": "assistant", "audio": {"id": "audio_1"}}, *HELLO]
        canned.answers_json({**completion, "choices": []})
        await ours.chat.completions.create(**aloud, messages=again)
        assert len(canned.requests) == 1
        async with canned_weir.openai(api_key=await key_of_another_project(canned_weir)) as theirs:
            with pytest.raises(openai.NotFoundError):
                await theirs.chat.completions.create(model=MODEL, messages=again)
    assert len(canned.requests) == 1


async def test_calls_go_to_the_upstream_that_has_what_they_name(
    weir: RunningWeir, ours: AsyncOpenAI, second: Simulator
) -> None:
    response = await made_at_the_second(weir, ours, second)

    assert (await ours.responses.retrieve(response.id)).id == response.id
    following = await ours.responses.create(model=MODEL, input="Go on.", previous_response_id=response.id)
    await ours.responses.delete(following.id)
    assert second.account.arrived_count == 4
    assert len(weir.arrivals) == 0
    assert [entry["upstream"] for entry in await weir.entries()] == ["second", "second"]


async def test_objects_of_two_upstreams_cannot_meet(weir: RunningWeir, ours: AsyncOpenAI, second: Simulator) -> None:
    there = await made_at_the_second(weir, ours, second)
    here = await ours.responses.create(model=MODEL, input="Hello.")
    item: Any = {"type": "item_reference", "id": here.output[0].id}
    with pytest.raises(openai.BadRequestError) as refused:
        await ours.responses.create(model=MODEL, previous_response_id=there.id, input=[item])
    assert refused.value.code == "objects_apart"


async def test_an_upstream_that_has_the_object_but_not_the_model_is_named_as_the_reason(
    weir: RunningWeir, ours: AsyncOpenAI, second: Simulator
) -> None:
    response = await made_at_the_second(weir, ours, second)
    directory = weir.wiring.upstreams._directory
    directory.replace([Upstream("second", directory.upstreams[1].base_url, UPSTREAM_KEY, models=("other-*",))])
    with pytest.raises(openai.BadRequestError, match="does not serve the model 'gpt-4o-mini'"):
        await ours.responses.create(model=MODEL, input="Go on.", previous_response_id=response.id)


async def test_what_an_upstream_kept_that_is_not_configured_any_more_cannot_be_had(
    weir: RunningWeir, ours: AsyncOpenAI, second: Simulator
) -> None:
    response = await made_at_the_second(weir, ours, second)
    weir.wiring.upstreams._directory.replace([])
    for attempt in (
        ours.responses.retrieve(response.id),
        ours.responses.create(model=MODEL, input="Go on.", previous_response_id=response.id),
    ):
        with pytest.raises(openai.InternalServerError) as refused:
            await attempt
        assert (refused.value.status_code, refused.value.code) == (503, "upstream_gone")
        assert refused.value.response.headers["x-should-retry"] == "false"


async def test_a_list_has_what_each_upstream_keeps(weir: RunningWeir, ours: AsyncOpenAI, second: Simulator) -> None:
    first = await ours.chat.completions.create(model=MODEL, messages=HELLO, store=True)
    directory = weir.wiring.upstreams._directory
    both = directory.upstreams
    directory.set(both[1:])
    last = await ours.chat.completions.create(model=MODEL, messages=HELLO, store=True)
    directory.set(both)

    assert [each.id async for each in ours.chat.completions.list(limit=1)] == [first.id, last.id]


async def test_a_list_that_does_not_get_on_is_at_its_end(
    weir: RunningWeir, canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "chatcmpl-1", "chat.completion", "openai")
    canned.answers_json({"object": "list", "data": [{"id": "chatcmpl-others"}], "has_more": True})
    async with canned_weir.openai() as client:
        assert not (await client.chat.completions.list()).data


async def test_answers_of_an_upstream_that_fails_are_told_as_they_are(
    weir: RunningWeir, canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "resp_1", "response", "openai")
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "chatcmpl-1", "chat.completion", "openai")
    async with canned_weir.openai() as client:
        canned.answers_json({"error": {"message": "Busy.", "type": "x", "param": None, "code": "busy"}}, 429)
        with pytest.raises(openai.RateLimitError, match="Busy"):
            await client.responses.retrieve("resp_1")
        with pytest.raises(openai.RateLimitError, match="Busy"):
            await client.chat.completions.list()
        canned.answers_json({"error": {"message": f"Bad key {UPSTREAM_KEY}"}}, 401)
        with pytest.raises(openai.InternalServerError) as refused:
            await client.responses.retrieve("resp_1")
        assert refused.value.code == "upstream_authentication_failed"
        canned.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
        with pytest.raises(openai.InternalServerError) as cut:
            await client.responses.retrieve("resp_1")
        assert (cut.value.status_code, cut.value.code) == (502, "upstream_unreachable")
        canned.answers()
        with pytest.raises(openai.InternalServerError) as silent:
            await client.responses.retrieve("resp_1")
        assert silent.value.code == "upstream_unreachable"


@pytest.mark.parametrize("head", ["502 Bad Gateway", "200 OK", "404 Not Found", "302 Found\r\nlocation: http://x/"])
async def test_what_is_said_of_stored_things_and_is_no_json_is_an_error_of_weirs(
    weir: RunningWeir, canned_weir: RunningWeir, canned: CannedUpstream, head: str
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "resp_1", "response", "openai")
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "chatcmpl-1", "chat.completion", "openai")
    canned.answers(f"HTTP/1.1 {head}\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>".encode())
    async with canned_weir.openai() as client:
        for attempt in (client.responses.retrieve("resp_1"), client.chat.completions.list()):
            with pytest.raises(openai.InternalServerError) as refused:
                await attempt
            assert (refused.value.status_code, refused.value.code) == (502, "upstream_invalid_response")


async def test_a_stored_stream_that_is_whole_ends_as_it_is(
    weir: RunningWeir, canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "resp_1", "response", "openai")
    last = event({"type": "response.completed", "sequence_number": 9, "response": {"id": "resp_1"}})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    for answer in (head + b"\r\n" + last.rstrip(), head + b"content-length: 5000\r\n\r\n" + last):
        canned.answers(answer)
        async with canned_weir.openai() as client:
            stream = await client.responses.retrieve("resp_1", stream=True)
            assert [each.sequence_number async for each in stream] == [9]


async def test_a_stored_stream_that_breaks_ends_with_an_error(
    weir: RunningWeir, canned_weir: RunningWeir, canned: CannedUpstream
) -> None:
    await weir.wiring.tenants.ownership.record(DEFAULT_PROJECT_ID, "resp_1", "response", "openai")
    created = event({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    for answer in (head + b"\r\n" + created, head + b"content-length: 5000\r\n\r\n" + created):
        canned.answers(answer)
        async with canned_weir.openai() as client:
            stream = await client.responses.retrieve("resp_1", stream=True)
            with pytest.raises(openai.APIError) as broken:
                [each async for each in stream]
        assert broken.value.type == "upstream_error"


async def test_no_call_about_a_stored_object_is_charged_or_exceeds_a_limit_of_requests(
    weir: RunningWeir, ours: AsyncOpenAI
) -> None:
    response = await ours.responses.create(model=MODEL, input="Hello.")
    await ours.responses.retrieve(response.id)
    stream = await ours.responses.retrieve(response.id, stream=True, starting_after=3)
    first, *_ = [each.sequence_number async for each in stream]
    assert first == 4
    await ours.responses.delete(response.id)
    [entry] = await weir.entries()
    assert entry["operation"] == "responses"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/vector_stores"])
async def test_very_many_objects_are_not_looked_up_for_one_request(weir: RunningWeir, path: str) -> None:
    for count, said in ((10_000, "No "), (10_001, "more than 10,000 stored objects")):
        file_ids = [f"file_{number}" for number in range(count)]
        tools = [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": file_ids}}]
        async with weir.http() as client:
            answer = await client.post(path, json={"model": MODEL, "input": "Hello.", "tools": tools})
        assert answer.status_code == (404 if count == 10_000 else 400)
        assert said in answer.json()["error"]["message"]
