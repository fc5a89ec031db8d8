"""What each client asks for, one call after the other: drawn from the seed and the client's number alone. Pure."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from tests.torture.truth import ODD_MODEL

_WORDS = (
    "the", "weir", "holds", "its", "level", "while", "the", "river", "rises", "and", "every", "drop", "is", "counted",
    "by", "somebody", "who", "looks", "at", "the", "gauge", "and", "writes", "it", "down",
)  # fmt: skip
_STREAM_FAULTS = (
    "cut_after=0",
    "cut_after=3",
    "eof_after=2",
    "error_after=4",
    "malformed=json",
    "no_usage=1",
    "status=500",
    "status=429",
    "hang=before",
    "hang=3",
)
_PLAIN_FAULTS = (
    "cut_after=1",
    "malformed=json",
    "malformed=html",
    "no_usage=1",
    "status=400",
    "status=401",
    "status=429",
    "status=500",
    "status=503",
    "hang=before",
    "hang=1",
)


class Ask(NamedTuple):
    """One call as a client wants to make it."""

    gateway: int
    key: int
    """Which of a cohort's keys pays."""
    age: int
    """How many cohorts back: 0 is the one that is open now, the others are spent."""
    model: str
    streamed: bool
    through_sdk: bool
    """With the official SDK, which tries again by itself."""
    output_tokens_max: int | None
    choices: int
    wants_usage: bool
    words: int
    script: str
    """For the simulator."""
    leaves_after_seconds: float | None
    """Closes the connection then, whatever has come by then."""
    leaves_after_events: int | None
    lies: bool
    """The simulator claims more input than there was: a cost above every bound."""
    repeats: int
    """How often the same request is sent again under the same idempotency key, by a client that stays to the end."""
    pause_seconds: float

    @property
    def kind(self) -> str:
        """What the report calls it."""
        if self.leaves_after_seconds is not None or self.leaves_after_events is not None:
            return "abandoned"
        with_key = ", idempotent" if self.repeats else ""
        return ("SDK, " if self.through_sdk else "") + ("streamed" if self.streamed else "plain") + with_key

    def again(self) -> "Ask":
        """Return what a client sends when it asks again: the same, without leaving, perhaps to another gateway."""
        return self._replace(gateway=self.gateway + 1, leaves_after_seconds=None, leaves_after_events=None)

    def document(self) -> dict[str, Any]:
        """Return the request's body."""
        content = " ".join(_WORDS[index % len(_WORDS)] for index in range(self.words))
        document: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        if self.output_tokens_max is not None:
            document["max_completion_tokens"] = self.output_tokens_max
        if self.choices > 1:
            document["n"] = self.choices
        if self.streamed:
            document["stream"] = True
            if self.wants_usage:
                document["stream_options"] = {"include_usage": True}
        return document

    def body(self) -> bytes:
        """Return the same as bytes."""
        return json.dumps(self.document()).encode()


def asks(seed: int, client: int, *, keys: int, through_sdk: bool) -> Iterator[Ask]:
    """Yield the calls of one client, without end."""
    random = Random(f"client/{seed}/{client}")
    while True:
        streamed = random.random() < 0.55
        script = _script(random, streamed=streamed)
        model = random.choices(("sim-small", "sim-large", ODD_MODEL), (5, 3, 2))[0]
        lies = model == ODD_MODEL and random.random() < 0.03
        if lies:
            script = ["prompt_tokens=3000"]
        leaves_seconds, leaves_events = _departure(random, script, streamed=streamed)
        yield Ask(
            gateway=random.randrange(1_000),
            key=random.randrange(keys),
            age=random.choices((0, 1, 2), (92, 6, 2))[0],
            model=model,
            streamed=streamed,
            through_sdk=through_sdk,
            output_tokens_max=random.choices((None, 12, 30, 60), (25, 20, 35, 20))[0],
            choices=2 if random.random() < 0.05 else 1,
            wants_usage=random.random() < 0.4,
            words=random.randrange(1, 60),
            script=";".join(script),
            leaves_after_seconds=leaves_seconds,
            leaves_after_events=leaves_events,
            lies=lies,
            repeats=0 if through_sdk else random.choices((0, 1, 2), (88, 8, 4))[0],
            pause_seconds=min(2.0, random.expovariate(6.0)),
        )


def _script(random: Random, *, streamed: bool) -> list[str]:
    script = [f"output_tokens={random.choice((5, 20, 40, 300))}"]
    if random.random() < 0.35:
        script.append(f"latency_ms={random.randrange(10, 400)}")
    if streamed and random.random() < 0.6:
        script.append(f"tokens_per_second={random.choice((40, 120, 400))}")
    if random.random() < 0.1:
        script.append("cached_tokens=4")
    if random.random() < 0.1:
        script.append("reasoning_tokens=7")
    if random.random() < 0.14:
        script.append(random.choice(_STREAM_FAULTS if streamed else _PLAIN_FAULTS))
    return script


def _departure(random: Random, script: list[str], *, streamed: bool) -> tuple[float | None, int | None]:
    drawn, seconds, events = random.random(), random.uniform(0.0, 0.4), random.randrange(1, 12)
    if any(part.startswith("hang") for part in script) and drawn < 0.5:
        return seconds + 0.3, None
    if drawn < 0.06:
        return seconds, None
    if streamed and drawn < 0.16:
        return None, events
    return None, None
