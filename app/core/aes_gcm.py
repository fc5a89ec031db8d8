"""AES-256-GCM (NIST SP 800-38D), as `crypto.py` uses it: imported with the first secret, as it takes 8 MiB."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def seal(key: bytes, nonce: bytes, data: bytes, bound_to: bytes) -> bytes:
    """Return *data* encrypted, with what proves that neither it nor *bound_to* was changed."""
    return AESGCM(key).encrypt(nonce, data, bound_to)


def open_sealed(key: bytes, nonce: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """Return the data in *sealed*; raises ValueError when it was changed."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound_to)
    except InvalidTag:
        raise ValueError("it was changed") from None
