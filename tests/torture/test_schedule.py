"""What the seed decides: the blows and the calls, again and again the same."""

from itertools import islice

from tests.torture.asks import Ask, asks
from tests.torture.schedule import plan_blows


def first_asks(seed: int, client: int, count: int = 500) -> list[Ask]:
    return list(islice(asks(seed, client, keys=4, through_sdk=False), count))


def test_the_same_seed_gives_the_same_blows_and_the_same_calls() -> None:
    assert plan_blows(7, 60, 2) == plan_blows(7, 60, 2)
    assert first_asks(7, 3) == first_asks(7, 3)


def test_another_seed_or_client_gives_others() -> None:
    assert plan_blows(7, 60, 2) != plan_blows(8, 60, 2)
    assert first_asks(7, 3) != first_asks(8, 3)
    assert first_asks(7, 3) != first_asks(7, 4)


def test_ten_minutes_have_hundreds_of_blows_and_a_minute_has_all_kinds() -> None:
    assert len(plan_blows(1, 600, 2)) > 300
    for seed in range(20):
        assert {blow.kind for blow in plan_blows(seed, 60, 2)} == {"gateway", "freeze", "postgres", "valkey"}
        assert {blow.gateway for blow in plan_blows(seed, 60, 2)} == {0, 1}


def test_every_kind_of_call_is_among_them() -> None:
    found = first_asks(1, 1) + list(islice(asks(1, 2, keys=4, through_sdk=True), 500))
    kinds = {"plain", "streamed", "plain, idempotent", "streamed, idempotent", "SDK, plain", "SDK, streamed"}
    assert {ask.kind for ask in found} == kinds | {"abandoned"}
    assert {ask.key for ask in found} == {0, 1, 2, 3}
    assert {ask.age for ask in found} == {0, 1, 2}
    assert any(ask.lies for ask in found)
    assert any(ask.output_tokens_max is None for ask in found)
    assert any(ask.choices == 2 for ask in found)
    assert all(ask.document()["messages"][0]["content"] for ask in found)
