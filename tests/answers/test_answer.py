"""Answers as they are kept: in one piece, under a name that tells nothing, readable by nobody else."""

import pytest

from app.answers.answer import AnswerBox, KeptAnswer
from app.core.crypto import CannotDecrypt

SECRET = b"a secret of thirty-two characters"
ANSWER = KeptAnswer([(b"content-type", b"text/plain"), (b"x-name", b"caf\xe9")], b'{"a":1}\x00\xff', 60)


def test_an_answer_comes_back_as_it_was() -> None:
    box = AnswerBox(SECRET)
    name = box.name(b"asked")
    assert box.open(name, box.seal(name, ANSWER)) == ANSWER
    assert AnswerBox(SECRET).open(name, box.seal(name, ANSWER)) == ANSWER
    assert KeptAnswer.unpacked(KeptAnswer([], b"", 1).packed()) == ([], b"", 1)


def test_a_name_is_another_for_other_parts_and_for_another_secret() -> None:
    box = AnswerBox(SECRET)
    parts = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"), ()]
    names = {box.name(*each) for each in parts} | {AnswerBox(b"another").name(b"abc")}
    assert len(names) == len(parts) + 1
    assert box.name(b"ab", b"c") == AnswerBox(SECRET).name(b"ab", b"c")
    assert all(len(name) == 64 for name in names)


def test_an_answer_cannot_be_read_without_the_secret_or_under_another_name() -> None:
    box = AnswerBox(SECRET)
    name, other = box.name(b"asked"), box.name(b"another")
    sealed = box.seal(name, ANSWER)
    assert sealed != box.seal(name, ANSWER)
    assert b"text/plain" not in sealed
    for opener, under in ((AnswerBox(b"another"), name), (box, other)):
        with pytest.raises(CannotDecrypt):
            opener.open(under, sealed)
