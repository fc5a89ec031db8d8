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


@given(st.text(max_size=100))
def test_every_character_is_in_exactly_one_token(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) == len(split_tokens(text))


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
