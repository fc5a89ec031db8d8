"""JSON Web Tokens (RFC 7519), strictly: the one place that touches python-jose, which by itself believes too much.

A token decides nothing about how it is checked: algorithms and keys come from configuration, HMAC and public keys
never for the same issuer, and exp, iat, aud, iss and sub must be there. Pure; takes `now`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from jose.exceptions import JOSEError

from app.core.imports import lazily

if TYPE_CHECKING:
    from jose import jwk, jws
    from jose.backends.base import Key
else:
    jwk, jws = lazily("jose.jwk"), lazily("jose.jws")

TOKEN_CHARACTERS_MAX: Final = 8_192
SECRET_BYTES_MIN: Final = 32
CLAIM_CHARACTERS_MAX: Final = 256
CLOCK_SKEW_SECONDS: Final = 30
"""By how much the issuer's clock may be ahead of ours. A token that has expired has expired."""
RSA_BITS_MIN: Final = 2_048
_LATEST_SECONDS: Final = 253_402_300_799  # the end of the year 9999

HMAC: Final = "HS256"
PUBLIC_KEY_TYPES: Final = {"RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "ES256": "EC", "ES384": "EC", "ES512": "EC"}
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# RFC 9068 and RFC 8725, section 3.11: a token that was made for something else says so.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# They name keys that the sender chose, or rules that we do not know (RFC 7515, section 4.1).
_HEADERS_REFUSED: Final = frozenset({"crit", "jku", "jwk", "x5u", "b64", "zip", "enc"})


class InvalidToken(Exception):
    """The token is not to be believed; the message is for operators, callers learn nothing of it."""


class Header(NamedTuple):
    """What a token says of itself, before anything is checked."""

    algorithm: str
    key_id: str | None
    issuer: str


class VerificationKey(NamedTuple):
    """A key that tokens of one algorithm are checked with."""

    algorithm: str
    key: "Key"


class Expected(NamedTuple):
    """Who must have issued a token, and for whom."""

    issuer: str
    audience: str


def is_token(text: str) -> bool:
    """Tell whether *text* looks like a JSON Web Token, well-formed or not: no key of Weir's own does."""
    return text.startswith("ey") and text.count(".") == 2


def hmac_key(secret: bytes) -> VerificationKey:
    """Return the HS256 key of *secret*; raises ValueError for one that is too short, or is a public key in PEM."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"an HMAC secret needs {SECRET_BYTES_MIN} bytes or more")
    try:
        return VerificationKey(HMAC, jwk.construct(secret, HMAC))
    except JOSEError as error:
        raise ValueError(str(error)) from None


def public_keys(document: Mapping[str, Any], algorithms: Sequence[str]) -> list[VerificationKey]:
    """Return the keys of one JWK (RFC 7517), for each of *algorithms* that it can be used with.

    Empty for a key that is private, symmetric, weak, malformed or not meant for signatures.
    """
    if "d" in document or document.get("use", "sig") != "sig":
        return []
    meant_for = document.get("alg")
    found = []
    for algorithm in algorithms:
        is_type = PUBLIC_KEY_TYPES[algorithm] == document.get("kty")
        is_curve = _CURVES.get(algorithm) in (None, document.get("crv"))
        if is_type and is_curve and meant_for in (None, algorithm):
            try:
                key = jwk.construct(dict(document), algorithm)
            except (JOSEError, ValueError, TypeError, AttributeError):
                return []
            if PUBLIC_KEY_TYPES[algorithm] == "EC" or _bits(key) >= RSA_BITS_MIN:
                found.append(VerificationKey(algorithm, key))
    return found


def sign(claims: Mapping[str, Any], key: VerificationKey) -> str:
    """Return a token with *claims*, signed with an HMAC key."""
    return jws.sign(orjson.dumps(dict(claims)), key.key, algorithm=key.algorithm)


def read_header(token: str) -> Header:
    """Return what *token* says of itself, not to be believed yet; raises InvalidToken unless it is well-formed."""
    if len(token) > TOKEN_CHARACTERS_MAX or not _FORM.fullmatch(token):
        raise InvalidToken("not three parts in base64url, or too long")
    parts = token.split(".")
    header, claims = _json(parts[0]), _json(parts[1])
    if not _HEADERS_REFUSED.isdisjoint(header):
        raise InvalidToken("a header parameter that is refused")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("another type of token")
    algorithm, key_id, issuer = header.get("alg"), header.get("kid"), claims.get("iss")
    if not isinstance(algorithm, str) or not isinstance(issuer, str):
        raise InvalidToken("no alg, or no iss")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > CLAIM_CHARACTERS_MAX):
        raise InvalidToken("a kid that is no text")
    return Header(algorithm, key_id, issuer)


def verify(token: str, keys: Sequence[VerificationKey], expected: Expected, now: datetime) -> dict[str, Any]:
    """Return the claims of *token*, which one of *keys* has signed; raises InvalidToken.

    The algorithm is the key's, which the header must agree with; it never is what the header wants.
    """
    header = read_header(token)
    for key in keys:
        if key.algorithm == header.algorithm:
            try:
                payload = jws.verify(token, key.key, algorithms=[key.algorithm])
            except (JOSEError, RecursionError):  # a header may nest deeper than python-jose can read
                continue
            return _checked(_loads(payload), expected, now.timestamp())
    raise InvalidToken("signed by no key that is known")


def _checked(claims: dict[str, Any], expected: Expected, now_seconds: float) -> dict[str, Any]:
    if claims.get("iss") != expected.issuer:
        raise InvalidToken("another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.audience not in audiences:
        raise InvalidToken("another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= CLAIM_CHARACTERS_MAX or not subject.isprintable():
        raise InvalidToken("no sub")
    if _moment(claims, "exp") <= now_seconds:
        raise InvalidToken("expired")
    if _moment(claims, "iat") > now_seconds + CLOCK_SKEW_SECONDS:
        raise InvalidToken("issued in the future")
    if "nbf" in claims and _moment(claims, "nbf") > now_seconds + CLOCK_SKEW_SECONDS:
        raise InvalidToken("not valid yet")
    return claims


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_SECONDS:
        raise InvalidToken(f"no {name}")
    return value


def _json(part: str) -> dict[str, Any]:
    try:
        return _loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:  # binascii's among them
        raise InvalidToken("not base64url") from None


def _loads(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except ValueError:
        raise InvalidToken("not JSON") from None
    if not isinstance(document, dict):
        raise InvalidToken("not a JSON object")
    return document


def _bits(key: Any) -> int:
    size: int = key.prepared_key.key_size
    return size
