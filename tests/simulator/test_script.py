import pytest

from app.simulator.refusal import Refusal
from app.simulator.script import DEFAULT, KEYS, Script, read_script


@pytest.mark.parametrize("model", ["gpt-4o", "org/model:tag", "ft:gpt-4o:a::b", ""])
def test_a_model_without_a_script_is_left_as_it_is(model: str) -> None:
    assert read_script(model, None) == (model, DEFAULT)


def test_every_key_is_read() -> None:
    text = (
        "latency_ms=200; tokens_per_second=12.5; output_tokens=3; cached_tokens=4; reasoning_tokens=5; prompt_tokens=6;"
        "status=429; error_code=slow_down; malformed=html; content_type=text/plain; no_usage=1; cut_after=7;"
        "eof_after=8; error_after=9; hang=10; echo_headers=1; background_polls=11;"
        "header.Retry-After=2; header.x-b=c=d;"
    )
    expected = Script(
        latency_ms=200,
        tokens_per_second=12.5,
        output_tokens=3,
        cached_tokens=4,
        reasoning_tokens=5,
        prompt_tokens=6,
        status=429,
        error_code="slow_down",
        malformed="html",
        content_type="text/plain",
        no_usage=True,
        cut_after=7,
        eof_after=8,
        error_after=9,
        hang=10,
        echo_headers=True,
        background_polls=11,
        headers={"retry-after": "2", "x-b": "c=d"},
    )
    assert read_script(f"sim; {text}", None) == ("sim", expected)
    assert read_script("sim", text) == ("sim", expected)
    assert {key.partition("=")[0].strip() for key in text.split(";") if key.strip() and "header." not in key} == {
        key for key in KEYS if not key.startswith("header.")
    }


def test_both_scripts_are_merged_and_the_header_wins() -> None:
    name, script = read_script("sim;status=500;cut_after=1;header.a=1;header.b=1", "status=503;header.b=2")
    assert name == "sim"
    assert (script.status, script.cut_after, script.headers) == (503, 1, {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    "pair",
    [
        "nothing",
        "nothing=1",
        "=1",
        "latency_ms=",
        "latency_ms=1.5",
        "latency_ms=600001",
        "latency_ms=0000000000000001",
        "latency_ms=\u0661",
        "tokens_per_second=0",
        "tokens_per_second=nan",
        "tokens_per_second=1e3",
        "status=201",
        "status=304",
        "status=600",
        "malformed=xml",
        "hang=after",
        "no_usage=yes",
        "error_code=",
        "content_type=a\nb",
        "header.=1",
        "header.a b=1",
        "header.a=1\r\nb: 2",
        "header.a=☃",
        "header.Content-Length=1",
        "header.transfer-encoding=chunked",
        "header." + "a" * 5000 + "=1",
    ],
)
def test_what_is_no_script_is_refused(pair: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_script("sim", pair)
    assert refusal.value.status == 400
    assert all(key in str(refusal.value) for key in KEYS)
