from hypothesis import given
from hypothesis import strategies as st

from app.simulator.text import answer_tokens, count_tokens, fit_tokens, split_tokens


@given(st.text())
def test_tokens_are_the_text_in_pieces(text: str) -> None:
    tokens = split_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


@given(st.text(), st.integers(0, 80))
def test_as_many_tokens_as_wanted_are_counted_again_in_their_text(question: str, count: int) -> None:
    tokens = fit_tokens(answer_tokens("sim-small", question), count)
    assert len(tokens) == count
    assert count_tokens("".join(tokens)) == count


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_longer_text_has_no_fewer_tokens(one: str, more: str) -> None:
    assert count_tokens(one) <= count_tokens(one + more)


def test_words_signs_and_white_space_are_tokens() -> None:
    assert split_tokens("Hello, world!\n\n(don't)  x") == [
        "Hello",
        ",",
        " world",
        "!",
        "\n\n",
        "(don't",
        ")",
        "  ",
        "x",
    ]
    assert count_tokens("a" * 48) == 2


def test_a_long_question_is_repeated_in_part() -> None:
    assert len("".join(answer_tokens("sim-small", "word " * 1000))) < 300
