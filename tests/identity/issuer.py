"""An identity provider for tests: keys that it signs with and publishes, on loopback."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwk

from app.core.clock import utc_now
from tests.fixtures.listening import listening

AUDIENCE = "weir-of-example"


class SigningKey:
    """A key pair of the provider."""

    def __init__(self, algorithm: str, key_id: str | None, bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        self._private: Any = (
            ec.generate_private_key(curves[algorithm])
            if algorithm in curves
            else rsa.generate_private_key(public_exponent=65537, key_size=bits)
        )

    @property
    def pem(self) -> bytes:
        pem: bytes = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem

    def public_bytes(self, encoding: Encoding) -> bytes:
        public: bytes = self._private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        return public

    @property
    def document(self) -> dict[str, Any]:
        """The public key as JWK."""
        document = jwk.construct(self.public_bytes(Encoding.PEM), self.algorithm).to_dict()
        return {**document, "use": "sig", **({"kid": self.key_id} if self.key_id else {})}

    @property
    def private_document(self) -> dict[str, Any]:
        return {**jwk.construct(self.pem, self.algorithm).to_dict(), "kid": self.key_id}

    def sign(self, claims: Any, **headers: Any) -> str:
        """Return a token with *claims*; a header that is None is left out."""
        return signed(
            claims, jwk.construct(self.pem, self.algorithm), self.algorithm, **{"kid": self.key_id, **headers}
        )


def signed(claims: Any, key: Any, algorithm: str, **headers: Any) -> str:
    """Return a token with *claims*, of which nothing is checked, not even that they are an object."""
    header = {"alg": algorithm, "typ": "JWT", **headers}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    head = part({name: value for name, value in header.items() if value is not None})
    body = f"{head}.{part(payload)}"
    return f"{body}.{part(key.sign(body.encode()))}"


def part(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def signing_key(algorithm: str = "RS256", key_id: str | None = "key-1", bits: int = 2048) -> SigningKey:
    """Return the same pair every time, as making one takes long."""
    return SigningKey(algorithm, key_id, bits)


class Issuer:
    """A provider that listens; what it publishes and how it answers can be changed at any time."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [signing_key().document]
        self.fetched: list[str] = []
        """The paths that were asked for."""
        self.url = ""
        self.answers: dict[str, tuple[int, bytes]] = {}
        """Other answers than the right ones, by path."""
        self.hangs = False

    def answer(self, path: str) -> tuple[int, bytes]:
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": self.keys},
        }
        return self.answers.get(path) or (200, json.dumps(documents[path]).encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.fetched.append(path)
        if self.hangs:
            await reader.read()
        else:
            status, body = self.answer(path)
            location = b"location: /keys\r\n" if status == 302 else b""
            writer.write(b"HTTP/1.1 %d So\r\n%bcontent-length: %d\r\n\r\n%b" % (status, location, len(body), body))
            await writer.drain()
        writer.close()

    def sign(self, key: SigningKey | None = None, **claims: Any) -> str:
        """Return a token for *claims* beside the usual ones; `None` leaves one out."""
        return (key or signing_key()).sign(self.claims(**claims))

    def claims(self, **claims: Any) -> dict[str, Any]:
        usual: dict[str, Any] = {"iss": self.url, "aud": AUDIENCE, "sub": "subject-1", "email": "ada@example.com"}
        now = int(utc_now().timestamp())
        usual |= {"email_verified": True, "name": "Ada Lovelace", "iat": now, "exp": now + 600}
        return {name: value for name, value in {**usual, **claims}.items() if value is not None}


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    async with listening(issuer.serve) as issuer.url:
        yield issuer
