"""Refusals that have to do with stored objects and whose they are. They belong to the tree in `errors.py`."""

from typing import Final

from app.errors import NotFound, Operational, Refusal

_WORDS: Final = {
    "resp_": "Response with id '{}' not found.",
    "conv_": "Conversation with id '{}' not found.",
    "chatcmpl-": "Completion with id '{}' not found.",
    "file-": "No such File object: {}",
    "batch_": "No batch found with id '{}'.",
    "vs_": "No vector store found with id '{}'.",
    "cntr_": "Container with id '{}' not found.",
    "ftjob-": "Could not find fine tune: {}",
    "upload_": "No such Upload: {}",
    "eval_": "Eval with id '{}' not found.",
}
_CHARACTERS_SHOWN_MAX: Final = 256


class ObjectNotFound(NotFound):
    """No such stored object, or it belongs to another project: the answer is the same, in OpenAI's words."""

    code = "object_not_found"

    def __init__(self, object_id: str, param: str | None = None) -> None:
        shown = "".join(filter(str.isprintable, object_id[:_CHARACTERS_SHOWN_MAX]))
        words = next((words for prefix, words in _WORDS.items() if shown.startswith(prefix)), "No object with id '{}'.")
        super().__init__(words.format(shown), param=param)


class PreviousResponseNotFound(Refusal):
    """The response that is to be gone on from does not exist, or belongs to another project."""

    code = "previous_response_not_found"

    def __init__(self, object_id: str) -> None:
        shown = "".join(filter(str.isprintable, object_id[:_CHARACTERS_SHOWN_MAX]))
        super().__init__(f"Previous response with id '{shown}' not found.", param="previous_response_id")


class ObjectsApart(Refusal):
    """The objects that a request names are kept by different upstreams, and each sees only its own."""

    code = "objects_apart"

    def __init__(self, object_id: str, other_id: str) -> None:
        super().__init__(f"'{object_id}' and '{other_id}' are kept by different upstreams: use those of one.")


class UpstreamGone(Operational):
    """The upstream that keeps the object is not among those that Weir has now; an operator may bring it back."""

    code = "upstream_gone"

    def __init__(self, object_id: str) -> None:
        super().__init__(
            f"The upstream that keeps '{object_id}' is not configured here any more, or not enabled.",
            headers={"x-should-retry": "false"},
        )


class ListTooLong(Operational):
    """None of the project's objects was found among so many of other projects that the search was given up."""

    code = "list_too_long"

    def __init__(self) -> None:
        super().__init__(
            "Nothing of your project is near this place of the upstream's list, which is long. "
            "Ask with the id of an object of yours as `after`, or with a filter.",
            headers={"x-should-retry": "false"},
        )
