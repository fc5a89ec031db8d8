"""What the simulator stores: in OpenAI's shapes, with content that comes back, and with no more room than it has."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from app.simulator import stored_content, stored_objects
from app.simulator.app import Simulator
from app.simulator.form import FormReader
from app.simulator.refusal import Refusal
from app.simulator.stored_content import Contents
from tests.simulator.wire import Wire

FILE: Any = {"file": ("a.txt", b"text"), "purpose": "assistants"}


async def test_lists_have_pages_orders_and_purposes(client: AsyncOpenAI) -> None:
    made = [(await client.files.create(**FILE)).id for _ in range(3)]
    other = await client.files.create(file=("b", b""), purpose="vision")
    page = await client.files.list(limit=2, order="asc", purpose="vision")
    assert other.id in [file.id for file in page.data]
    newest = [file.id async for file in client.files.list(purpose="assistants", limit=2)]
    assert newest[:3] == made[::-1]
    assert [file.id for file in (await client.files.list(after="file-unknown")).data] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/file-x"),
        ("GET", "/v1/files/file-x/content"),
        ("DELETE", "/v1/files/file-x"),
        ("POST", "/v1/vector_stores/vs_x/files"),
        ("PUT", "/v1/files/file-x"),
        ("PUT", "/v1/files"),
        ("GET", "/v1/nothing/at/all"),
        ("GET", "/v1/content"),
    ],
)
async def test_what_is_not_there_is_a_404(wire: Wire, method: str, path: str) -> None:
    assert (await wire.ask({"file_id": "f"}, path, method=method)).status == 404


async def test_a_known_object_has_no_other_methods(client: AsyncOpenAI, wire: Wire) -> None:
    file = await client.files.create(**FILE)
    assert (await wire.ask({}, f"/v1/files/{file.id}", method="PUT")).status == 404


async def test_a_file_may_be_named_or_sent(client: AsyncOpenAI) -> None:
    container = await client.containers.create(name="box")
    file = await client.files.create(**FILE)
    named = await client.containers.files.create(container.id, file_id=file.id)
    assert named.path == f"/mnt/data/{file.id}"
    with pytest.raises(openai.BadRequestError):
        await client.containers.files.create(container.id)


async def test_a_form_without_a_file_or_without_an_end_is_refused(wire: Wire) -> None:
    kind = "multipart/form-data; boundary=x"
    bodies = (
        b"--x--\r\n",
        b"--x\r\n",
        b"no form",
        b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
    )
    for body in bodies:
        answer = await wire.ask(body, "/v1/files", content_type=kind)
        assert answer.status == 400, body
    for boundary in ("", "; boundary=" + "x" * 300):
        assert (await wire.ask(b"", "/v1/files", content_type=f"multipart/form-data{boundary}")).status == 400
    form = FormReader(kind).form
    for read in (form.read, form.read_file):
        with pytest.raises(Refusal):
            read("file")


async def test_a_large_file_keeps_its_length_and_its_beginning(client: AsyncOpenAI, simulator: Simulator) -> None:
    content = b"beginning".ljust(5 * 1024 * 1024, b"x")
    file = await client.files.create(file=("large", content), purpose="user_data")
    assert (file.bytes, simulator.account.calls[0].bytes_sent > 0) == (len(content), True)
    got = (await client.files.content(file.id)).content
    assert (len(got), got[:9], got[-1:]) == (len(content), b"beginning", b"\0")
    arrival = simulator.account.calls[0].arrival
    assert arrival is not None
    assert (len(arrival.body), arrival.body_size_bytes > len(content)) == (64 * 1024, True)


def test_contents_make_room_for_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_content, "_KEPT_BYTES_MAX", 10)
    contents = Contents()
    contents.add("old", b"12345678", 8)
    contents.add("new", b"12345678", 8)
    assert contents.find("old") == (b"", 0)
    assert contents.find("new") == (b"12345678", 8)


async def test_objects_make_room_for_newer_ones(client: AsyncOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_objects, "_OBJECTS_MAX", 1)
    for _ in range(3):
        await client.conversations.create()
    container = await client.containers.create(name="box")
    assert container.name == "box"


async def test_a_download_hangs_and_breaks_off_where_the_script_says(
    client: AsyncOpenAI, wire: Wire, simulator: Simulator
) -> None:
    file = await client.files.create(file=("a", bytes(200_000)), purpose="user_data")
    path = f"/v1/files/{file.id}/content"
    simulator.hang_seconds_max = 0.01
    try:
        for script in ("cut_after=1", "hang=1"):
            received = await wire.ask(None, path, method="GET", x_simulator=script)
            assert (received.status, received.is_complete) == (200, False)
    finally:
        simulator.hang_seconds_max = 600.0
    assert [call.ending for call in simulator.account.calls] == ["finished", "cut", "hung"]


async def test_every_script_works_for_stored_objects_too(wire: Wire) -> None:
    answer = await wire.ask(None, "/v1/files", method="GET", x_simulator="status=429")
    assert answer.status == 429
    cut = await wire.ask(None, "/v1/files", method="GET", x_simulator="cut_after=1")
    assert not cut.is_complete
