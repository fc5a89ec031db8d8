"""The attacks on JSON Web Tokens (RFC 8725): each is mounted here against the strict module, and fails."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from app.identity import jwt
from app.identity.jwt import Expected, InvalidToken, VerificationKey
from tests.identity.issuer import part, signed, signing_key

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
EXPECTED = Expected("https://id.example.com", "weir")
SECRET = b"a secret of thirty-two bytes....."
CLAIMS = {"iss": EXPECTED.issuer, "aud": "weir", "sub": "ada", "iat": SECONDS - 10, "exp": SECONDS + 600}
HMAC_KEY = jwt.hmac_key(SECRET)
RSA = signing_key()
EC = signing_key("ES256", "key-2")


class Hmac:
    """HMAC with any bytes, which python-jose would refuse to sign with."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self.secret, data, hashlib.sha256)


class Nobody:
    def sign(self, _: bytes) -> bytes:
        return b"no signature"


def keys(*documents: dict[str, Any], algorithms: tuple[str, ...] = ("RS256", "ES256")) -> list[VerificationKey]:
    return [key for document in documents for key in jwt.public_keys(document, algorithms)]


def verify(token: str, *known: VerificationKey, expected: Expected = EXPECTED) -> dict[str, Any]:
    return jwt.verify(token, known or keys(RSA.document, EC.document), expected, NOW)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_a_token_of_each_algorithm_that_is_configured_is_believed(algorithm: str) -> None:
    key = signing_key(algorithm, f"key of {algorithm}")

    assert verify(key.sign(CLAIMS), *keys(key.document, algorithms=(algorithm,))) == CLAIMS


def test_a_token_that_was_signed_here_is_believed_here() -> None:
    assert verify(jwt.sign(CLAIMS, HMAC_KEY), HMAC_KEY) == CLAIMS


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("key", [RSA, EC], ids=["RSA", "EC"])
def test_a_public_key_is_never_taken_for_a_secret(encoding: Encoding, key: Any) -> None:
    forged = signed(CLAIMS, Hmac(key.public_bytes(encoding)), "HS256", kid=key.key_id)

    with pytest.raises(InvalidToken):
        verify(forged)


def test_the_algorithm_is_never_the_token_s_choice() -> None:
    for algorithm in ("none", "None", "NONE", "", "HS256", "HS384", "RS512", "ES256", "PS256", "EdDSA"):
        for signature in (Nobody(), Hmac(SECRET), Hmac(b"")):
            with pytest.raises(InvalidToken):
                verify(signed(CLAIMS, signature, algorithm, kid="key-1"))


def test_a_token_without_signature_is_none() -> None:
    whole = RSA.sign(CLAIMS)

    for token in (whole.rpartition(".")[0] + ".", whole.rpartition(".")[0], whole + "." + part(b"more")):
        with pytest.raises(InvalidToken):
            verify(token)


def test_hmac_and_public_keys_do_not_meet_even_when_one_list_has_both() -> None:
    both = [*keys(RSA.document), HMAC_KEY]

    assert jwt.verify(RSA.sign(CLAIMS), both, EXPECTED, NOW) == CLAIMS
    with pytest.raises(InvalidToken):
        jwt.verify(signed(CLAIMS, Hmac(RSA.public_bytes(Encoding.DER)), "HS256"), both, EXPECTED, NOW)


def test_an_hmac_secret_is_long_and_no_public_key() -> None:
    for secret in (b"", b"short", b"x" * 31, RSA.public_bytes(Encoding.PEM), RSA.pem):
        with pytest.raises(ValueError, match=r"32 bytes|asymmetric key"):
            jwt.hmac_key(secret)


@pytest.mark.parametrize("name", ["exp", "iat", "iss", "aud", "sub"])
def test_a_claim_that_must_be_there_must_be_there(name: str) -> None:
    with pytest.raises(InvalidToken):
        verify(RSA.sign(without(name)))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"aud": []},
        {"aud": ["another", "weird"]},
        {"aud": "weir weir"},
        {"aud": {"weir": True}},
        {"iss": "https://id.example.com/"},
        {"iss": "https://evil.example.com"},
        {"iss": ["https://id.example.com"]},
        {"exp": SECONDS},
        {"exp": SECONDS - 3_600},
        {"exp": str(SECONDS + 600)},
        {"exp": True},
        {"exp": None},
        {"exp": -1},
        {"exp": 10**30},
        {"exp": 1e300},
        {"nbf": SECONDS + 31},
        {"nbf": "soon"},
        {"iat": SECONDS + 31},
        {"iat": "now"},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 257},
        {"sub": "ada\n"},
        {"sub": "ada\x00"},
    ],
    ids=str,
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(RSA.sign({**CLAIMS, **change}))


def test_clocks_may_differ_a_little_but_nothing_outlives_its_end() -> None:
    ahead = {**CLAIMS, "iat": SECONDS + 30, "nbf": SECONDS + 30, "exp": SECONDS + 1}

    assert verify(RSA.sign(ahead)) == ahead


def test_of_several_audiences_one_must_be_ours() -> None:
    several = {**CLAIMS, "aud": ["account", "weir"]}

    assert verify(RSA.sign(several)) == several


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"jku": "https://evil.example.com/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://evil.example.com/key.pem"},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"typ": "logout+jwt"},
        {"typ": 7},
        {"kid": 7},
        {"kid": {"a": 1}},
        {"kid": "x" * 257},
        {"alg": ["RS256"]},
        {"alg": None},
    ],
    ids=str,
)
def test_a_header_that_could_choose_keys_or_rules_is_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(RSA.sign(CLAIMS, **headers))


@pytest.mark.parametrize(
    "headers",
    [{"x5t": "abc"}, {"x5c": ["abc"]}, {"typ": "at+jwt"}, {"typ": "jwt"}, {"typ": None}, {"kid": None}],
    ids=str,
)
def test_a_header_that_changes_nothing_is_not_looked_at(headers: dict[str, Any]) -> None:
    assert verify(RSA.sign(CLAIMS, **headers)) == CLAIMS


def test_a_key_that_was_rotated_away_signs_nothing_any_more() -> None:
    old = signing_key("RS256", "key-0")

    with pytest.raises(InvalidToken):
        verify(old.sign(CLAIMS))
    with pytest.raises(InvalidToken):
        jwt.verify(RSA.sign(CLAIMS), [], EXPECTED, NOW)


WRONG_KEYS: Final[list[dict[str, Any]]] = [
    {**RSA.document, "kty": "EC"},
    {**EC.document, "kty": "RSA"},
    {**EC.document, "crv": "P-384"},
    {**EC.document, "crv": "P-999"},
    {**EC.document, "x": EC.document["y"]},
    {**EC.document, "x": 7},
    {**RSA.document, "kty": "oct", "k": "AAAA"},
    {**RSA.document, "kty": None},
    {**RSA.document, "use": "enc"},
    {**RSA.document, "alg": "RS512"},
    {**RSA.document, "alg": "HS256"},
    {**RSA.document, "n": "AQAB"},
    {**RSA.document, "n": None},
    {**RSA.document, "n": "!!!"},
    RSA.private_document,
    {"kty": "RSA"},
    {"kty": "EC", "crv": "P-256"},
    {},
    signing_key("RS256", "weak", 1024).document,
]


@pytest.mark.parametrize("document", WRONG_KEYS, ids=range(len(WRONG_KEYS)))  # keys are other ones in every process
def test_a_key_that_is_not_what_it_says_or_too_weak_is_no_key(document: dict[str, Any]) -> None:
    assert keys(document) == []


@pytest.mark.parametrize(
    "claims",
    [b"", b"not JSON", b"[]", b"7", b"null", b"\xff\xfe", b'{"exp": NaN}', b"[" * 5_000, json.dumps([CLAIMS]).encode()],
    ids=lambda claims: repr(claims[:20]),
)
def test_what_is_signed_but_no_object_is_refused(claims: bytes) -> None:
    with pytest.raises(InvalidToken):
        verify(RSA.sign(claims))


def test_a_header_that_nests_deeper_than_python_can_read_is_refused() -> None:
    for depth in (900, 1_000, 1_020, 2_000):
        header = b'{"alg":"RS256","deep":' + b"[" * depth + b"]" * depth + b"}"
        token = f"{part(header)}.{part(CLAIMS)}.{part(b'signature')}"
        with pytest.raises(InvalidToken):
            verify(token)


def test_a_token_of_more_than_8_kilobytes_is_not_even_parsed() -> None:
    fits = RSA.sign({**CLAIMS, "more": "x" * 5_000})
    assert len(fits) < jwt.TOKEN_CHARACTERS_MAX
    assert verify(fits)

    for size in (8_192, 100_000):
        with pytest.raises(InvalidToken, match="too long"):
            verify(RSA.sign({**CLAIMS, "more": "x" * size}))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "ey.ey.ey", "eyJ.\n.a", "ey J9.e.e", "ÿ.ÿ.ÿ", "=.=.=", "a.b"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify(text)


@given(st.text(max_size=200) | st.from_regex(r"ey[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{1,60}\.[A-Za-z0-9_-]{1,60}"))
def test_whatever_is_sent_it_is_refused_in_one_way(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify(text)


@given(st.data())
def test_a_token_with_one_letter_changed_says_the_same_or_nothing(data: st.DataObject) -> None:
    token = jwt.sign(CLAIMS, HMAC_KEY)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_.="))
    changed = token[:place] + letter + token[place + 1 :]

    try:
        assert verify(changed, HMAC_KEY) == CLAIMS
    except InvalidToken:
        assert changed != token


def test_keys_of_weir_do_not_look_like_tokens() -> None:
    assert jwt.is_token(RSA.sign(CLAIMS))
    for key in ("wk-abc", "wa-a.b.c", "a.key.of-somebody", "eyeglasses", "", "..", "ey.one-dot"):
        assert not jwt.is_token(key)
