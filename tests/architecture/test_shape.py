"""Every file under app/ has the shape that the law asks for; each rule is shown a breach first."""

import pytest

from tests.architecture import law, shape_rules
from tests.architecture.source import Module, Rule, modules

HOUSE = modules("app")

OWN_ERROR = "from app.errors import Refusal\nclass A(Refusal):\n    code = 'a'"
LONG_FUNCTION = "def f():\n" + "    pass\n" * law.FUNCTION_LINES_MAX
LONGEST_FUNCTION = "def f():\n" + "    pass\n" * (law.FUNCTION_LINES_MAX - 1)

BREACHES = [
    ("files_are_short", "app/keys/service.py", "x = 1\n" * (law.FILE_LINES_MAX + 1)),
    ("functions_are_short", "app/keys/service.py", LONG_FUNCTION),
    ("functions_are_short", "app/keys/service.py", f"async {LONG_FUNCTION}"),
    ("functions_take_few_parameters", "app/keys/service.py", "def f(a, b, /, c, *, d, e, f, g): ..."),
    ("functions_take_few_parameters", "app/keys/service.py", "class A:\n    def f(self, a, b, c, d, e, *f, **g): ..."),
    ("modules_say_what_they_are_for", "app/keys/service.py", "x = 1"),
    ("modules_say_what_they_are_for", "app/keys/service.py", '"""1\n2\n3\n4\n5\n6"""'),
    ("names_say_something", "app/keys/helpers.py", ""),
    ("names_say_something", "app/utils/money.py", ""),
    ("names_say_something", "app/keys/key_manager.py", ""),
    ("money_is_never_a_float", "app/prices/book.py", "rate = 0.5"),
    ("money_is_never_a_float", "app/core/money.py", "rate = float('1')"),
    ("money_is_never_a_float", "app/budgets/service.py", "def f(cost: int | float) -> None: ..."),
    ("money_is_never_a_float", "app/ledger/usage/entry.py", "class A:\n    cost: list[float]"),
    ("money_is_never_a_float", "app/ledger/service.py", "def f() -> float: ..."),
    ("money_is_never_a_float", "app/ledger/service.py", "def f(wait_seconds: float, cost: float): ..."),
    ("only_the_clock_tells_the_time", "app/keys/service.py", "from datetime import datetime\ndatetime.now()"),
    ("only_the_clock_tells_the_time", "app/keys/service.py", "import datetime\nf(clock=datetime.datetime.utcnow)"),
    ("only_the_clock_tells_the_time", "app/keys/service.py", "import time\ntime.time()"),
    ("only_the_clock_tells_the_time", "app/keys/service.py", "from time import time"),
    ("nothing_prints", "app/keys/service.py", "print('hello')"),
    ("pure_modules_wait_for_nothing", "app/keys/tokens.py", "async def f(): ..."),
    ("pure_modules_wait_for_nothing", "app/gateway/operations/chat.py", "async def f(): ..."),
    (
        "errors_stand_in_the_catalogue",
        "app/keys/service.py",
        OWN_ERROR,
    ),
]

ALLOWED = [
    ("app/keys/__init__.py", ""),
    ("app/errors.py", '"""1\n2\n    a\n    b\n    c\n3\n4"""\nclass A(Refusal):\n    status = 400'),
    ("app/keys/service.py", '"""1\n2\n3\n4\n5"""\nfrom app.errors import Unavailable\nclass Away(Unavailable): ...'),
    ("app/keys/service.py", f'"""Keys."""\n{LONGEST_FUNCTION}'),
    ("app/keys/service.py", '"""Keys."""\nclass A:\n    async def f(self, a, b, c, d, *, e, f): ...'),
    ("app/keys/service.py", '"""Keys."""\n' + "x = 1\n" * (law.FILE_LINES_MAX - 1)),
    (
        "app/prices/book.py",
        '"""Prices."""\ndef f(rate: Decimal) -> Nano:\n    return isinstance(rate, float)',
    ),
    (
        "app/ledger/service.py",
        '"""Ledger."""\nDELAYS_SECONDS = (0.5, 1.0)\nx = {"total_ms": 1.5}\ndef f(grace_seconds: float): ...',
    ),
    ("app/upstreams/breaker.py", '"""A breaker."""\nrate: float = 0.5'),
    ("app/core/clock.py", '"""The clock."""\nimport time\ntime.time()'),
    ("app/keys/tokens.py", '"""Tokens."""\ndef f(now: datetime) -> datetime:\n    return self.clock.now'),
    ("app/cli.py", '"""Commands."""\nprint(1)'),
]


@pytest.mark.parametrize("rule", shape_rules.RULES, ids=lambda rule: rule.__name__)
def test_the_house_obeys(rule: Rule) -> None:
    breaches = [line for module in HOUSE for line in rule(module)]

    assert not breaches, "\n".join(breaches)


def test_files_outside_the_house_have_names_that_say_something_too() -> None:
    outside = modules("migrations", "scripts", "tests")

    assert not [line for module in outside for line in shape_rules.names_say_something(module)]


@pytest.mark.parametrize(("rule", "path", "source"), BREACHES)
def test_a_breach_is_seen_and_says_where(rule: str, path: str, source: str) -> None:
    breaches = list(getattr(shape_rules, rule)(Module(path, source)))

    assert breaches
    assert breaches[0].startswith(f"{path}:")


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_law_allows_passes_every_rule(path: str, source: str) -> None:
    assert not [line for rule in shape_rules.RULES for line in rule(Module(path, source))]


def test_every_rule_has_a_planted_breach() -> None:
    assert {rule.__name__ for rule in shape_rules.RULES} == {rule for rule, _, _ in BREACHES}
