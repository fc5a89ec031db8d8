"""Which function the simulator calls: the one that it must, and otherwise the first one when somebody asks. Pure.

Custom tools are never called. https://platform.openai.com/docs/guides/function-calling (tool choice)
"""

from collections.abc import Collection
from typing import Any

from app.simulator.fields import Document
from app.simulator.refusal import invalid_value


def choose_function(
    choice: Any, functions: list[Document], called: Collection[str], *, is_asked: bool
) -> Document | None:
    """Return which of *functions* is called, None for text; *called* are the names of those called before.

    *is_asked*: whether the last word is the user's, and not the result of a tool. A *choice* that requires a call
    brings one whoever spoke last. Raises Refusal (400) for a function that is not there.
    """
    if choice == "none" or not functions:
        return None
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = (choice["function"] if isinstance(choice.get("function"), dict) else choice).get("name")
        for function in functions:
            if function.get("name") == name:
                return function
        raise invalid_value("tool_choice", "Invalid value for 'tool_choice': the function is not among the tools.")
    if choice == "required" and not is_asked:
        return next((function for function in functions if function.get("name") not in called), functions[-1])
    return functions[0] if is_asked else None
