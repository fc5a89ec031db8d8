"""Multipart forms, made by the SDK's HTTP client and by hand: what Weir reads of them, and that it changes no byte."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest, InvalidType, UnsupportedMediaType
from app.gateway.multipart import Form, is_form, read_form

KINDS: Final = {"model": str, "n": int, "stream": bool}
TYPE: Final = "multipart/form-data; boundary=zzz"
_NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


def encoded(fields: Mapping[str, Any], files: Any = ()) -> tuple[bytes, str]:
    """Return a body and its content type, as the official SDK's HTTP client writes them."""
    request = httpx2.Request("POST", "http://weir.test/", data=dict(fields), files=files or {"f": ("f", b"")})
    return request.read(), request.headers["content-type"]


def read(body: bytes, content_type: str = TYPE) -> Form:
    return read_form(body, content_type, None)


def part(disposition: str, content: bytes = b"x", headers: str = "") -> bytes:
    return f"--zzz\r\nContent-Disposition: {disposition}\r\n{headers}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--zzz--\r\n"


def field(name: str, value: bytes) -> bytes:
    return part(f'form-data; name="{name}"', value)


@given(fields=st.dictionaries(_NAMES, st.text(), max_size=4), files=st.lists(st.tuples(_NAMES, _NAMES, st.binary())))
def test_every_part_is_found_where_it_is(fields: dict[str, str], files: list[tuple[str, str, bytes]]) -> None:
    body, content_type = encoded(fields, [(name, (filename, content)) for name, filename, content in files])

    found = read(body, content_type)

    texts = [found.content(part) for part in found.parts if not part.is_file]
    assert texts == [value.encode() for value in fields.values()]
    assert [found.content(part) for part in found.parts if part.is_file][: len(files)] == [file[2] for file in files]
    assert found.body == body


@given(value=st.text(), model=st.text(min_size=1), content=st.binary())
def test_a_field_is_replaced_and_nothing_else(value: str, model: str, content: bytes) -> None:
    body, content_type = encoded({"a": value, "model": "sim-one", "z": value}, {"image[]": ("é.png", content)})

    replaced = read(body, content_type).replaced("model", model)

    head, tail = body.split(b"sim-one", 1) if body.count(b"sim-one") == 1 else (b"", b"")
    assert replaced.startswith(head)
    assert replaced.endswith(tail)
    again = read(replaced, content_type)
    assert [again.content(part) for part in again.parts] == [value.encode(), model.encode(), value.encode(), content]


def test_a_field_that_is_not_there_goes_in_front() -> None:
    body, content_type = encoded({"prompt": "a heron"}, {"image": ("a.png", b"\x89PNG")})

    again = read(read(body, content_type).replaced("model", "gpt-image-1"), content_type)

    assert [part.name for part in again.parts] == ["model", "prompt", "image"]
    assert again.read({"model": str, "prompt": str}) == {"model": "gpt-image-1", "prompt": "a heron"}


def test_fields_are_read_as_what_they_stand_for() -> None:
    body = form(field("model", b"sim-image"), field("n", b" 3 "), field("stream", b"True"), field("x", b"\xff"))

    assert read(body).read(KINDS) == {"model": "sim-image", "n": 3, "stream": True}
    assert read(form(field("stream", b"0"))).read(KINDS) == {"stream": False}


def test_an_empty_field_is_as_if_it_was_not_there_unless_it_is_text() -> None:
    assert read(form(field("n", b""), field("stream", b" "), field("model", b""))).read(KINDS) == {"model": ""}


def test_files_are_found_by_name_with_and_without_brackets() -> None:
    names = ["image", "image[]", "image[1]", "mask"]
    file = [
        part(f'form-data; name="{name}"; filename="a;name=b.png"', b"12", "Content-Type: image/png\r\n")
        for name in names
    ]

    found = read(form(*file, field("image", b"no file")))

    assert [part.name for part in found.files("image")] == names[:3]
    assert {(part.size_bytes, part.content_type) for part in found.files("image")} == {(2, "image/png")}


@pytest.mark.parametrize(
    "body",
    [
        form(field("n", b"1"), field("n", b"2")),
        form(field("n", b""), field("n", b"2")),
        form(field("n[]", b"2")),
        form(field("n[0]", b"2")),
        form(field("N", b"2")),
        form(field(" n", b"2")),
        form(part('form-data; name="n"; filename="n"', b"2")),
        form(part("form-data; name=\"n\"; filename*=utf-8''n", b"2")),
        form(part('form-data; name="n"', b"Mg==", "Content-Transfer-Encoding: base64\r\n")),
        form(part('form-data; name="n"', b"2", "Content-Type: text/plain; charset=utf-16\r\n")),
        form(field("model", b"\xff")),
        form(field("model", b"m" * 1_048_577)),
    ],
)
def test_a_field_that_may_be_read_in_another_way_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(body).read(KINDS)

    assert str(refused.value.param).strip(" []0").lower() in KINDS


@pytest.mark.parametrize(("name", "value"), [("n", b"1.5"), ("n", b"x"), ("n", b"\xef\xbc\x92"), ("stream", b"maybe")])
def test_a_field_of_another_type_is_refused_by_name(name: str, value: bytes) -> None:
    with pytest.raises(InvalidType) as refused:
        read(form(field(name, value))).read(KINDS)

    assert refused.value.param == name


@pytest.mark.parametrize(
    "body",
    {
        "empty": b"",
        "no boundary in it": b'{"model":"m"}',
        "another boundary": form(field("n", b"1")).replace(b"zzz", b"yyy"),
        "not closed": field("n", b"1"),
        "cut in its headers": form(field("n", b"1"))[:30],
        "line feeds only": form(field("n", b"1")).replace(b"\r\n", b"\n"),
        "a part between line feeds": form(field("f", b"\n--zzz\nContent-Disposition: form-data; name=n\n\n9\n")),
        "a part after a carriage return": form(field("f", b"\r--zzz\rContent-Disposition: form-data; name=n\r\r9")),
        "a part after the end": form(field("f", b"1")) + form(field("n", b"9")),
        "a part without a name": form(part("form-data")),
        "a part without headers": b"--zzz\r\n\r\n1\r\n--zzz--\r\n",
        "an attachment": form(part('attachment; name="n"')),
        "two names": form(part('form-data; name="f"; name="n"')),
        "a name in another charset": form(part("form-data; name=\"f\"; name*=utf-8''n")),
        "an open quote": form(part('form-data; name="f; name="n"')),
        "a quote that ends early": form(part('form-data; filename="a\\"; name="n"')),
        "two dispositions": form(part('form-data; name="f"', headers='content-disposition: form-data; name="n"\r\n')),
        "a folded header": form(part('form-data;\r\n name="n"')),
        "a header without a name": form(part('form-data; name="n"', headers=": x\r\n")),
        "many headers": form(part('form-data; name="n"', headers="x: y\r\n" * 9)),
        "a long header": form(part(f'form-data; name="{"n" * 10_000}"')),
        "many parts": form(*[field("f", b"1")] * 257),
    }.values(),
)
def test_what_is_no_form_to_everybody_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="form"):
        read(body)


def test_a_form_may_have_no_part_and_as_many_as_are_allowed() -> None:
    assert read(b"--zzz--\r\n").parts == ()
    assert len(read(form(*[field("f", b"1")] * 256)).parts) == 256


@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/mixed; boundary=zzz", "\xff"])
def test_another_content_type_is_refused(content_type: str | None) -> None:
    assert not is_form(content_type)
    with pytest.raises(UnsupportedMediaType):
        read_form(form(), content_type, None)


def test_a_compressed_form_and_one_without_a_boundary_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        read_form(form(field("n", b"1")), TYPE, "gzip")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=", f"{TYPE}{'z' * 256}"):
        with pytest.raises(InvalidRequest):
            read(form(field("n", b"1")), content_type)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_no_bytes_make_it_fail_in_another_way(head: bytes, tail: bytes) -> None:
    good = form(field("model", b"m"), part('form-data; name="f"; filename="a"', tail))
    for body in (head, head + good, good + tail, form(field("n", head)), form(head, tail)):
        with suppress(InvalidRequest, InvalidType):
            read(body).read(KINDS)
