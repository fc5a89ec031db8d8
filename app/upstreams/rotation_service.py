"""Brings every credential under the current key, so that the one before can be forgotten."""

from typing import NamedTuple

from app.audit.service import record as audit
from app.core.crypto import CannotDecrypt, SecretBox
from app.core.db import Database
from app.upstreams import repository


class Rotation(NamedTuple):
    """How many credentials were encrypted anew, how many were current, and the upstreams whose cannot be decrypted."""

    encrypted_count: int
    current_count: int
    unreadable: tuple[str, ...]


class RotationService:
    """Encrypts credentials anew."""

    def __init__(self, db: Database, box: SecretBox) -> None:
        self._db = db
        self._box = box

    async def rotate(self) -> Rotation:
        """Encrypt every credential under the current key, all or none; raises DatabaseUnavailable."""
        encrypted = current = 0
        unreadable = []
        async with self._db.transaction() as tx:
            await repository.stop_changes(tx)
            for record in await repository.list_all(tx):
                sealed = record.api_key_encrypted
                if sealed is None:
                    continue
                try:
                    api_key = self._box.decrypt(sealed, record.id)
                except CannotDecrypt:
                    unreadable.append(record.name)
                    continue
                if self._box.is_current(sealed):
                    current += 1
                else:
                    await repository.set_credential(tx, record.id, self._box.encrypt(api_key, record.id))
                    encrypted += 1
            await audit(tx, "secrets.rotated", None, details={"data": {"encrypted_count": encrypted}})
        return Rotation(encrypted, current, tuple(unreadable))
