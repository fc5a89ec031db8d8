"""Secrets at rest: AES-256-GCM (NIST SP 800-38D), each bound to the row that it belongs to.

Each says which key it is under, so that keys can change. Nothing here may log, or show in an error, a secret or a key.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from app.core.imports import lazily

if TYPE_CHECKING:
    from app.core import aes_gcm
else:
    aes_gcm = lazily("app.core.aes_gcm")

_FORMAT: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(_FORMAT) + _KEY_ID_BYTES


class CannotDecrypt(Exception):
    """The key is not among those that are configured, or the bytes are not what was encrypted for this row."""


class SecretBox:
    """Encrypts under the first of its keys, and decrypts what is under any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes, the current one first; at least one."""
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._current = _key_id(keys[0])

    def encrypt(self, secret: str, bound_to: str) -> bytes:
        """Return *secret* encrypted; only who names the same *bound_to*, such as a row's id, can decrypt it."""
        return self.seal(secret.encode(), bound_to)

    def decrypt(self, data: bytes, bound_to: str) -> str:
        """Return the secret in *data*; raises CannotDecrypt."""
        return self.open(data, bound_to).decode()

    def seal(self, secret: bytes, bound_to: str) -> bytes:
        """Return *secret* sealed; only who names the same *bound_to* can open it."""
        nonce = os.urandom(_NONCE_BYTES)  # of one key, random nonces last for four billion secrets
        sealed = aes_gcm.seal(self._keys[self._current], nonce, secret, bound_to.encode())
        return _FORMAT + self._current + nonce + sealed

    def open(self, data: bytes, bound_to: str) -> bytes:
        """Return the bytes that were sealed in *data*; raises CannotDecrypt."""
        key = self._keys.get(data[len(_FORMAT) : _HEAD_BYTES])
        if key is None or not data.startswith(_FORMAT):
            raise CannotDecrypt("it is encrypted under a key that is not configured")
        nonce, sealed = data[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], data[_HEAD_BYTES + _NONCE_BYTES :]
        try:
            return aes_gcm.open_sealed(key, nonce, sealed, bound_to.encode())
        except ValueError:
            raise CannotDecrypt("it was damaged, or belongs to something else") from None

    def is_current(self, data: bytes) -> bool:
        """Tell whether *data* is encrypted under the current key."""
        return data[:_HEAD_BYTES] == _FORMAT + self._current


def derive_key(secret: bytes, purpose: bytes) -> bytes:
    """Return a key of 32 bytes for one *purpose* (HKDF-SHA256, RFC 5869), which does not give *secret* away."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")  # its first block, which is all of it


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"weir key id" + key).digest()[:_KEY_ID_BYTES]
