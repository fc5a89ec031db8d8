"""What is remembered is believed for a while, bounded, and never older than what forgets it."""

from app.core.remembered import Remembered


class Source:
    """Answers a number that counts up, and what else it was told to do meanwhile."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self) -> int:
        self.reads += 1
        return self.reads


async def test_a_value_is_read_once_until_it_is_forgotten() -> None:
    source, memory = Source(), Remembered[str, int](60, 10)

    assert [await memory.get("a", source.read) for _ in range(3)] == [1, 1, 1]
    memory.forget(lambda key, value: (key, value) == ("b", 1))
    assert await memory.get("a", source.read) == 1
    memory.forget(lambda key, value: (key, value) == ("a", 1))
    assert await memory.get("a", source.read) == 2


async def test_a_value_ages() -> None:
    source, memory = Source(), Remembered[str, int](0, 10)

    assert [await memory.get("a", source.read) for _ in range(2)] == [1, 2]


async def test_of_too_many_the_oldest_is_forgotten() -> None:
    source, memory = Source(), Remembered[str, int](60, 2)

    for key in ("a", "b", "c"):
        await memory.get(key, source.read)

    assert [await memory.get(key, source.read) for key in ("b", "c", "a")] == [2, 3, 4]


async def test_what_changes_while_it_is_read_is_not_remembered() -> None:
    source, memory = Source(), Remembered[str, int](60, 10)

    async def read_meanwhile() -> int:
        memory.forget(lambda *_: False)
        return await source.read()

    assert await memory.get("a", read_meanwhile) == 1
    assert await memory.get("a", source.read) == 2
