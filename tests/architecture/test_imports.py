"""Every import under app/ obeys the law; each rule is shown a breach first, so that it is known to bite."""

import pytest

from tests.architecture import import_rules
from tests.architecture.source import Module, Rule, modules

HOUSE = modules("app")

BREACHES = [
    ("everything_stands_in_a_layer", "app/miscellany/service.py", "x = 1"),
    ("layers_import_downwards", "app/core/db.py", "from app.keys import service"),
    ("layers_import_downwards", "app/keys/service.py", "from app.gateway.service import Gateway"),
    ("layers_import_downwards", "app/gateway/service.py", "from app import wiring"),
    (
        "layers_import_downwards",
        "app/gateway/service.py",
        "from app.deps import GatewayDep",
    ),
    ("layers_import_downwards", "app/keys/router.py", "import app.main"),
    ("layers_import_downwards", "app/simulator/server.py", "from app.upstreams.service import Upstreams"),
    ("layers_import_downwards", "app/upstreams/service.py", "import app.simulator.text"),
    ("layers_import_downwards", "app/embedded/postgres.py", "from app.simulator import text"),
    ("layers_inside_a_feature_point_inwards", "app/keys/router.py", "from app.keys.repository import find"),
    ("layers_inside_a_feature_point_inwards", "app/keys/admin_router.py", "from . import models"),
    ("layers_inside_a_feature_point_inwards", "app/keys/repository.py", "from app.keys.service import Keys"),
    ("layers_inside_a_feature_point_inwards", "app/keys/service.py", "from app.keys.router import router"),
    ("layers_inside_a_feature_point_inwards", "app/keys/tokens.py", "from app.keys import repository"),
    ("layers_inside_a_feature_point_inwards", "app/ledger/rollup_repository.py", "from app.ledger.schemas import Row"),
    ("features_meet_in_services_and_value_types", "app/keys/service.py", "from app.projects import repository"),
    ("features_meet_in_services_and_value_types", "app/gateway/service.py", "from app.ledger.models import Entry"),
    ("features_meet_in_services_and_value_types", "app/keys/admin_router.py", "from app.projects.store import x"),
    ("features_meet_in_services_and_value_types", "app/core/db.py", "from app.keys.repository import find"),
    ("features_see_only_those_below", "app/ledger/service.py", "from app.budgets.service import Budgets"),
    ("features_see_only_those_below", "app/limits/rules.py", "from app.budgets.periods import Period"),
    ("doors_and_pure_modules_reach_no_server", "app/keys/router.py", "from app.core.db import Database"),
    ("doors_and_pure_modules_reach_no_server", "app/keys/tokens.py", "from app.core import redis"),
    ("doors_and_pure_modules_reach_no_server", "app/keys/models.py", "from app.core import db"),
    ("libraries_stay_in_their_files", "app/keys/service.py", "import sqlalchemy.orm"),
    ("libraries_stay_in_their_files", "app/ledger/service.py", "import asyncpg"),
    ("libraries_stay_in_their_files", "app/limits/service.py", "from redis.asyncio import Redis"),
    ("libraries_stay_in_their_files", "app/upstreams/service.py", "import httpx"),
    ("libraries_stay_in_their_files", "app/upstreams/service.py", "from urllib import request"),
    ("libraries_stay_in_their_files", "app/upstreams/service.py", "from urllib.request import urlopen"),
    ("libraries_stay_in_their_files", "app/gateway/service.py", "from starlette.responses import Response"),
    ("imports_stand_at_the_top", "app/keys/service.py", "async def f():\n    if True:\n        import json"),
]

ALLOWED = [
    ("app/main.py", "from app.wiring import Wiring\nfrom app.simulator import text\nfrom fastapi import FastAPI"),
    ("app/deps.py", "from app.wiring import Wiring\nfrom fastapi import Depends\nfrom app.keys.auth import caller"),
    ("app/keys/auth.py", "from app.keys.service import Keys\nfrom starlette.requests import Request"),
    ("app/keys/admin_router.py", "from app.deps import AdminDep\nfrom app.projects.service import Projects"),
    ("app/keys/service.py", "from app.core.db import Database\nfrom app.keys import repository, tokens"),
    ("app/keys/repository.py", "import sqlalchemy\nimport asyncpg\nfrom app.keys.models import ApiKey"),
    ("app/keys/models.py", "from sqlalchemy import Text\nfrom app.core.orm import Base"),
    ("app/ledger/rollup_repository.py", "import sqlalchemy\nfrom app.ledger.models import Entry"),
    ("app/ledger/service.py", "from app.keys.caller import Caller\nfrom app.prices.book import Book"),
    ("app/gateway/service.py", "from app.ledger.service import Ledger\nfrom app.keys.caller import Caller"),
    ("app/batches/service.py", "from app.gateway.service import Gateway"),
    ("app/upstreams/client.py", "import pyreqwest.client\nfrom http import HTTPStatus"),
    ("app/upstreams/dispatcher.py", "from app.upstreams import client"),
    ("app/observability/middleware.py", "from starlette.types import ASGIApp\nfrom app.errors import Bug"),
    ("app/simulator/server.py", "from app.simulator.text import answer\nfrom app.core.clock import Clock"),
]


@pytest.mark.parametrize("rule", import_rules.RULES, ids=lambda rule: rule.__name__)
def test_the_house_obeys(rule: Rule) -> None:
    breaches = [line for module in HOUSE for line in rule(module)]

    assert not breaches, "\n".join(breaches)


def test_no_two_folders_import_each_other() -> None:
    assert not list(import_rules.cycles(HOUSE))


@pytest.mark.parametrize(("rule", "path", "source"), BREACHES)
def test_a_breach_is_seen_and_says_where(rule: str, path: str, source: str) -> None:
    breaches = list(getattr(import_rules, rule)(Module(path, source)))

    assert breaches
    assert breaches[0].startswith(f"{path}:")


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_the_design_allows_passes_every_rule(path: str, source: str) -> None:
    assert not [line for rule in import_rules.RULES for line in rule(Module(path, source))]


def test_every_rule_has_a_planted_breach() -> None:
    assert {rule.__name__ for rule in import_rules.RULES} == {rule for rule, _, _ in BREACHES}


def test_a_cycle_between_folders_is_seen() -> None:
    there = Module("app/keys/service.py", "from app.projects.service import Projects")
    back = Module("app/projects/rules.py", "from app.keys.tokens import mint")

    (breach,) = import_rules.cycles([there, back])

    assert "keys <- projects" in breach or "projects <- keys" in breach


def test_a_cycle_between_modules_of_one_folder_is_seen() -> None:
    there = Module("app/keys/tokens.py", "from app.keys.caller import Caller")
    back = Module("app/keys/caller.py", "from app.keys import tokens")

    assert len(list(import_rules.cycles([there, back]))) == 1


def test_doors_make_no_cycle_as_they_stand_above_every_feature() -> None:
    below = Module("app/keys/service.py", "from app.projects.service import Projects")
    door = Module("app/projects/admin_router.py", "from app.keys.service import Keys")

    assert not list(import_rules.cycles([below, door]))
