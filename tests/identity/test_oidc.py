"""People whom an identity provider vouches for: its tokens work as Weir's own, and say what their people are."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from openai import AsyncOpenAI
from pydantic import ValidationError

from app.identity.claims import read_claims
from app.identity.jwt import Header
from app.identity.oidc_client import _SIZE_BYTES_MAX, OidcClient, ProviderAway
from app.identity.provider_key_service import ProviderKeyService
from app.setting_groups import Oidc
from tests.fixtures.waiting import until
from tests.fixtures.weir import RunningWeir, StartWeir
from tests.identity.conftest import MakePerson, SignIn, events
from tests.identity.issuer import AUDIENCE, Issuer, running_issuer, signing_key

ME = "/v1/gateway/auth/me"
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


@dataclass
class OidcWeir:
    """A Weir that believes an issuer, beside `weir` and on the same database, which was emptied."""

    weir: RunningWeir
    issuer: Issuer

    async def ask(self, token: str, path: str = ME, method: str = "GET") -> httpx.Response:
        async with self.weir.http(token) as client:
            return await client.request(method, path)

    async def me(self, **claims: Any) -> dict[str, Any]:
        answer = await self.ask(self.issuer.sign(**claims))
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def status(self, **claims: Any) -> int:
        return (await self.ask(self.issuer.sign(**claims))).status_code

    def later(self) -> dict[str, int]:
        """Return when the next token is issued, as seen by a clock that counts in whole seconds."""
        self.seconds += 1
        return {"iat": self.seconds}

    seconds = 1_790_000_000


StartOidc = Any


@pytest.fixture
async def start(weir: RunningWeir, start_weir: StartWeir, issuer: Issuer) -> StartOidc:
    async def start_oidc(**settings: Any) -> OidcWeir:
        oidc = Oidc(issuer=issuer.url, audience=AUDIENCE, **{"refetch_interval_seconds": 3_600, **settings})
        return OidcWeir(await start_weir({"oidc": oidc}), issuer)

    return start_oidc


async def test_a_person_of_the_provider_is_made_and_may_call(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start(provision=True, project_claim="groups", project_map={"research": {"proj_default": "member"}})

    claims = {"groups": ["research"], **oidc.later()}
    me = await oidc.me(**claims)

    assert (me["email"], me["name"], me["role"]) == ("ada@example.com", "Ada Lovelace", "member")
    assert me["projects"] == {"proj_default": "member"}
    async with oidc.weir.openai(api_key=oidc.issuer.sign(**claims)) as client:
        await client.chat.completions.create(model="sim-small", messages=[{"role": "user", "content": "Hi"}])
    await oidc.weir.wiring.ledger.drain()
    assert [row[0] for row in await weir.sql("SELECT user_id FROM ledger_entries")] == [me["id"]]
    assert (await oidc.me(**claims))["id"] == me["id"]
    assert len(await weir.sql("SELECT id FROM users")) == 1
    kinds = [event for event, *_ in await events(weir)]
    assert kinds == ["user.added", "user.added", "login.succeeded"]
    ((address, actor),) = await weir.sql(
        "SELECT address, actor_user_id FROM audit_entries WHERE event = 'login.succeeded'"
    )
    assert (address, actor) == ("127.0.0.1", me["id"])


async def test_who_is_unknown_stays_out_unless_people_are_to_be_made(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start()

    assert await oidc.status() == 401
    assert await oidc.status() == 401
    assert await weir.sql("SELECT id FROM users") == []
    failures = await weir.sql("SELECT details->>'error_code' FROM audit_entries WHERE event = 'login.failed'")
    assert [code for (code,) in failures] == ["unknown_person"]  # once: then it is remembered for a while


async def test_without_a_usable_address_nobody_is_made(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start(provision=True)

    for number, email in enumerate((None, "", "no address", "a\x00@example.com", 7, ["ada@example.com"])):
        assert await oidc.status(sub=f"subject-{number}", email=email) == 401
    assert await weir.sql("SELECT id FROM users") == []


async def test_a_verified_address_links_the_person_once(
    weir: RunningWeir, start: StartOidc, make_person: MakePerson
) -> None:
    ada = await make_person(role="admin")
    oidc = await start()

    assert await oidc.status(email_verified=False) == 401
    assert await oidc.status(email_verified="true", sub="text-is-not-true") == 401
    assert await oidc.status(sub="nothing-said", email_verified=None) == 401
    assert (await oidc.me(sub="subject-2"))["id"] == ada.id
    assert (await oidc.me(sub="subject-2", email="renamed@example.com"))["role"] == "admin"
    # From now on the address is the linked person's alone, whoever claims to have it.
    assert await oidc.status(sub="subject-3") == 401


@pytest.mark.parametrize("is_verified", [True, False])
async def test_nobody_takes_over_an_account_by_its_address(
    weir: RunningWeir, start: StartOidc, make_person: MakePerson, is_verified: bool
) -> None:
    ada = await make_person()
    oidc = await start(provision=True)
    if is_verified:  # then the first one is linked, and the next one is somebody else
        assert (await oidc.me())["id"] == ada.id

    assert await oidc.status(sub="thief", email_verified=is_verified) == 401
    assert len(await weir.sql("SELECT id FROM users")) == 1


async def test_who_was_deleted_is_not_made_again(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start(provision=True)
    me = await oidc.me()
    async with oidc.weir.http(oidc.weir.admin_key) as client:
        assert (await client.delete(f"/v1/organization/users/{me['id']}")).status_code == 200

    async def is_out() -> bool:
        return bool(await oidc.status() == 401)

    await until(is_out)
    assert await oidc.status(**oidc.later()) == 401
    assert len(await weir.sql("SELECT id FROM users")) == 1


async def test_nobody_is_made_of_an_address_that_is_not_verified_unless_that_is_wanted(
    weir: RunningWeir, start: StartOidc
) -> None:
    oidc, trusting = await start(provision=True), await start(provision=True, provision_unverified_email=True)

    for is_verified in (False, None, "true"):
        assert await oidc.status(sub=f"says-{is_verified}", email_verified=is_verified) == 401
    assert await weir.sql("SELECT id FROM users") == []
    assert await trusting.status(sub="unverified", email_verified=None) == 200


@pytest.mark.parametrize("is_verified", [True, False])
async def test_who_was_deleted_before_they_were_linked_is_not_made_either(
    weir: RunningWeir, start: StartOidc, admin: AsyncOpenAI, make_person: MakePerson, is_verified: bool
) -> None:
    ada = await make_person()
    await admin.admin.organization.users.delete(ada.id)
    oidc = await start(provision=True, provision_unverified_email=True)

    assert await oidc.status(email_verified=is_verified) == 401
    back = await make_person()
    oidc.weir.wiring.people.persons.forget("")
    assert (await oidc.me(**oidc.later()))["id"] == back.id


async def test_the_newest_token_decides_what_a_person_is(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start(
        provision=True,
        role_claim="realm_access.roles",
        role_map={"weir-admins": "admin", "weir-viewers": "viewer"},
        project_claim="groups",
        project_map={"a": {"proj_default": "viewer"}, "b": {"proj_default": "admin", "proj_gone": "owner"}},
    )

    def said(*roles: str, groups: Any = ()) -> dict[str, Any]:
        return {"realm_access": {"roles": list(roles)}, "groups": groups}

    first, second, third = (oidc.later() for _ in range(3))
    strong = await oidc.me(**second, **said("weir-viewers", "weir-admins", groups=["b", "a", "unknown", 7]))
    assert (strong["role"], strong["projects"]) == ("admin", {"proj_default": "admin"})
    old = await oidc.me(**first, **said("weir-viewers"))
    assert (old["role"], old["projects"]) == ("admin", {"proj_default": "admin"})
    weak = await oidc.me(**third, **said("weir-viewers", groups="a"))
    assert weak["role"] == "viewer"
    oidc.weir.wiring.members.forget("")  # heard of by notice, a moment later
    assert (await oidc.me(**third))["projects"] == {"proj_default": "viewer"}
    await oidc.me(**oidc.later())
    oidc.weir.wiring.members.forget("")
    last = await oidc.me(**third)
    assert (last["role"], last["projects"]) == ("viewer", {})  # no role was named, and no group
    assert [kind for kind, *_ in await events(weir)].count("login.succeeded") == 3


async def test_the_last_owner_stays_one_whatever_the_provider_says(
    weir: RunningWeir, start: StartOidc, make_person: MakePerson
) -> None:
    await make_person(role="owner")
    oidc = await start(role_claim="role", role_map={"nobody": "viewer"})

    assert (await oidc.me(role="nobody", **oidc.later()))["role"] == "owner"
    await make_person("bob@example.com", "owner")
    assert (await oidc.me(role="nobody", **oidc.later()))["role"] == "viewer"


async def test_signing_out_ends_the_tokens_that_were_issued_until_now(
    weir: RunningWeir, start: StartOidc, sign_in: SignIn
) -> None:
    oidc = await start(provision=True)
    token = oidc.issuer.sign()
    assert (await oidc.ask(token)).status_code == 200
    for path in ("sign-out", "sign-out-everywhere"):
        newer = oidc.issuer.sign(iat=oidc.issuer.claims()["iat"] + 20)
        assert (await oidc.ask(newer)).status_code == 200
        assert (await oidc.ask(newer, f"/v1/gateway/auth/{path}", "POST")).status_code == 200

        async def is_refused() -> bool:
            answer: httpx.Response = await oidc.ask(token)
            return answer.status_code == 401

        await until(is_refused)


NOT_MEANT_FOR_WEIR: list[Any] = [
    {"aud": "another"},
    {"aud": None},
    {"iss": "https://evil.example.com"},
    {"iss": "weir"},
    {"sub": None},
    {"exp": 1_600_000_000},
    {"exp": None},
    {"iat": None},
    {"nbf": 4_000_000_000},
]


async def test_a_token_that_is_not_meant_for_weir_now_is_refused(weir: RunningWeir, start: StartOidc) -> None:
    oidc = await start(provision=True)
    for claims in NOT_MEANT_FOR_WEIR:
        everything = oidc.issuer.claims(**claims)

        assert (await oidc.ask(signing_key().sign(everything))).status_code == 401
        assert await weir.sql("SELECT id FROM users") == []


async def test_weir_without_a_provider_believes_none(weir: RunningWeir, issuer: Issuer) -> None:
    for token in (issuer.sign(), "eyJhbGciOiJub25lIn0.e30.", "ey.a.b", "ey" + "." * 2, "ey.a." + "b" * 20_000):
        async with weir.http(token) as client:
            answer = await client.get(ME)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    weir.wiring.people.persons.forget("")


async def test_a_new_key_is_fetched_and_an_old_one_is_forgotten(start: StartOidc) -> None:
    oidc = await start(provision=True, refetch_interval_seconds=0.001)
    assert await oidc.status() == 200
    new = signing_key("ES256", "key-2")
    oidc.issuer.keys = [new.document]

    assert (await oidc.ask(oidc.issuer.sign(new))).status_code == 200
    assert await oidc.status() == 401


async def test_made_up_key_ids_cause_one_fetch(start: StartOidc) -> None:
    oidc = await start(provision=True)
    assert await oidc.status() == 200
    fetched = len(oidc.issuer.fetched)

    for number in range(20):
        token = signing_key("RS256", f"made-up-{number % 3}").sign(oidc.issuer.claims())
        assert (await oidc.ask(token)).status_code == 401

    assert len(oidc.issuer.fetched) == fetched == 2


async def test_a_token_without_key_id_is_tried_with_every_key(start: StartOidc, issuer: Issuer) -> None:
    issuer.keys = [signing_key("ES256", "key-2").document, {**signing_key("RS256", None).document}]
    oidc = await start(provision=True)

    assert (await oidc.ask(issuer.sign(signing_key("RS256", None)))).status_code == 200


async def test_while_the_provider_is_away_nobody_is_told_that_the_token_is_wrong(
    start: StartOidc, issuer: Issuer
) -> None:
    issuer.answers["/keys"] = (500, b"")
    oidc = await start(provision=True, refetch_interval_seconds=0.001)

    answer = await oidc.ask(issuer.sign())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    issuer.answers.clear()
    assert await oidc.status() == 200
    issuer.answers["/keys"] = (500, b"")
    assert await oidc.status() == 200  # known keys go on working
    unknown = await oidc.ask(issuer.sign(signing_key("ES256", "key-2")))
    assert unknown.status_code == 503


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        (DISCOVERY, 404, b""),
        (DISCOVERY, 302, b""),
        (DISCOVERY, 200, b"<html>"),
        (DISCOVERY, 200, b"[]"),
        (DISCOVERY, 200, b'{"issuer": "https://evil.example.com", "jwks_uri": "https://evil.example.com/keys"}'),
        (DISCOVERY, 200, b'{"issuer": "ISSUER"}'),
        (DISCOVERY, 200, b'{"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"}'),
        (DISCOVERY, 200, b'{"issuer": "ISSUER", "jwks_uri": "http://127.0.0.1:1/keys"}'),
        ("/keys", 302, b""),
        ("/keys", 200, b"\xff\xfe"),
        ("/keys", 200, b"{}"),
        ("/keys", 200, b'{"keys": {}}'),
        ("/keys", 200, b" " * (_SIZE_BYTES_MAX + 1)),
        ("/keys", 200, b" " * (3 * _SIZE_BYTES_MAX)),
    ],
    ids=lambda part: str(part)[:60],
)
async def test_what_a_provider_must_not_answer_is_an_absence(
    issuer: Issuer, path: str, status: int, body: bytes
) -> None:
    issuer.answers[path] = (status, body.replace(b"ISSUER", issuer.url.encode()))

    with pytest.raises(ProviderAway):
        await OidcClient(_settings(issuer)).fetch_keys()


async def test_a_provider_that_hangs_is_given_up(issuer: Issuer) -> None:
    issuer.hangs = True

    async with asyncio.timeout(10):
        with pytest.raises(ProviderAway):
            await OidcClient(_settings(issuer, timeout_seconds=0.05)).fetch_keys()


async def test_odd_keys_among_the_others_are_left_out(issuer: Issuer) -> None:
    issuer.keys = [*issuer.keys, {}, {"kty": "oct", "k": "AAAA", "kid": "secret"}, "text", None]  # type: ignore[list-item]
    client, settings = OidcClient(_settings(issuer)), _settings(issuer)
    keys = ProviderKeyService(client, settings)

    assert len(await keys.list_for(Header("RS256", "key-1", issuer.url))) == 1
    assert await keys.list_for(Header("HS256", "secret", issuer.url)) == []


async def test_keys_are_fetched_anew_when_they_are_old(issuer: Issuer) -> None:
    settings = _settings(issuer, refetch_interval_seconds=0.001, keys_lifetime_seconds=0.01)
    keys = ProviderKeyService(OidcClient(settings), settings)
    work = asyncio.create_task(keys.keep_fresh())
    await until(lambda: len(issuer.fetched) >= 4)
    issuer.answers[DISCOVERY] = (500, b"")
    await until(lambda: len(issuer.fetched) >= 8)
    issuer.answers.clear()
    issuer.keys = []

    async def is_gone() -> bool:
        return not await keys.list_for(Header("RS256", "key-1", issuer.url))

    await until(is_gone)
    work.cancel()


def _settings(issuer: Issuer, **more: Any) -> Oidc:
    return Oidc(issuer=issuer.url, audience=AUDIENCE, **more)


@pytest.mark.parametrize(
    "given",
    [
        {"issuer": "http://id.example.com", "audience": "weir"},
        {"issuer": "ftp://127.0.0.1", "audience": "weir"},
        {"issuer": "https://id.example.com"},
        {"issuer": "https://id.example.com", "audience": ""},
        {"issuer": "https://id.example.com", "audience": "weir", "algorithms": ["HS256"]},
        {"issuer": "https://id.example.com", "audience": "weir", "algorithms": ["none"]},
        {"issuer": "https://id.example.com", "audience": "weir", "algorithms": []},
        {"issuer": "https://id.example.com", "audience": "weir", "role_map": {"a": "emperor"}},
    ],
    ids=str,
)
def test_settings_that_would_believe_too_much_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Oidc(**given)


def test_claims_of_any_form_are_read_without_a_stumble() -> None:
    settings = Oidc(
        issuer="https://id.example.com",
        audience="weir",
        role_claim="https://example.com/role",
        role_map={"boss": "owner"},
    )
    usual = {"sub": "ada", "iat": 1, "exp": 2}

    assert read_claims({**usual, "https://example.com/role": "boss"}, settings).role == "owner"
    for value in (None, 7, {"boss": 1}, [["boss"]], "bos", orjson.dumps(["boss"]).decode()):
        said = read_claims({**usual, "https://example.com/role": value, "name": value, "email": value}, settings)
        assert (said.role, said.email) == (None, None)
        assert said.project_roles == {}
