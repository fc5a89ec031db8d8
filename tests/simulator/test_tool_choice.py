"""Which function the simulator calls, in chats and in responses."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from app.simulator.tool_choice import choose_function

FUNCTIONS: list[dict[str, Any]] = [{"name": "look"}, {"name": "tell"}]
NAMED_BY_CHATS = {"type": "function", "function": {"name": "tell"}}
NAMED_BY_RESPONSES = {"type": "function", "name": "tell"}


@pytest.mark.parametrize(
    ("choice", "called", "is_asked", "name"),
    [
        (None, (), True, "look"),
        ("auto", (), True, "look"),
        ("auto", ("look",), False, None),
        ("none", (), True, None),
        ("required", (), True, "look"),
        ("required", ("look",), True, "look"),
        ("required", ("look",), False, "tell"),
        ("required", ("look", "tell"), False, "tell"),
        (NAMED_BY_CHATS, (), True, "tell"),
        (NAMED_BY_CHATS, ("tell",), False, "tell"),
        (NAMED_BY_RESPONSES, ("look",), False, "tell"),
        ({"type": "web_search"}, (), True, "look"),
    ],
)
def test_a_function_is_called_as_the_choice_says(
    choice: Any, called: tuple[str, ...], is_asked: bool, name: str | None
) -> None:
    function = choose_function(choice, FUNCTIONS, called, is_asked=is_asked)
    assert (function and function["name"]) == name


def test_without_functions_none_is_called() -> None:
    assert choose_function("required", [], (), is_asked=True) is None


async def test_a_response_whose_tool_is_required_calls_the_one_that_was_not_called_yet(client: AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "parameters": {"type": "object"}, **each} for each in FUNCTIONS]
    called: Any = [
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Nothing."},
    ]
    response = await client.responses.create(model="sim-small", input=called, tools=tools, tool_choice="required")
    assert [getattr(item, "name", None) for item in response.output] == ["tell"]


async def test_a_response_that_names_a_function_which_is_not_there_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as raised:
        await client.responses.create(
            model="sim-small",
            input="Hello.",
            tools=[{"type": "function", "name": "look", "parameters": {}, "strict": None}],
            tool_choice={"type": "function", "name": "tell"},
        )
    assert raised.value.param == "tool_choice"


async def test_a_chat_whose_tool_is_required_calls_the_one_that_was_not_called_yet(client: AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "user", "content": "Hello."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Nothing."},
    ]
    tools: Any = [{"type": "function", "function": each} for each in FUNCTIONS]
    answer = await client.chat.completions.create(
        model="sim-small", messages=messages, tools=tools, tool_choice="required"
    )
    assert answer.choices[0].message.tool_calls is not None
    call = answer.choices[0].message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "tell"
