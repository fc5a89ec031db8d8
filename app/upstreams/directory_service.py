"""Which managed upstreams calls may go to: read from PostgreSQL, kept in memory, replaced as a whole when one changes.

One whose credential cannot be decrypted, or whose address is refused by now, is left out; the others go on.
"""

from typing import Final

import structlog

from app.core.crypto import CannotDecrypt, SecretBox
from app.core.db import Database
from app.core.snapshot import Snapshot
from app.upstreams import repository
from app.upstreams.address import AddressRules, read_url
from app.upstreams.directory import Directory
from app.upstreams.record import Fault, State, UpstreamRecord
from app.upstreams.routing import Upstream

_log: Final = structlog.get_logger()
UPSTREAMS_CHANGED: Final = repository.CHANNEL
"""The channel on which every process hears of changed upstreams; see `DirectoryService.expire`."""


class DirectoryService(Snapshot):
    """Keeps a directory up to date."""

    def __init__(self, db: Database, directory: Directory, box: SecretBox, rules: AddressRules) -> None:
        super().__init__()
        self._db = db
        self._directory = directory
        self._box = box
        self._rules = rules
        self._faults: dict[str, Fault] = {}

    async def _load(self) -> None:
        async with self._db.transaction() as tx:
            records = await repository.list_all(tx)
        opened = {record.name: self.open(record) for record in records if record.enabled}
        self._directory.replace(each for each in opened.values() if isinstance(each, Upstream))
        self._tell({name: fault for name, fault in opened.items() if not isinstance(fault, Upstream)})

    def open(self, record: UpstreamRecord) -> Upstream | Fault:
        """Return the upstream with its credential, or why nothing may be sent there."""
        if self._rules.url_refusal(read_url(record.base_url)) is not None:
            return "address_refused"
        sealed = record.api_key_encrypted
        try:
            return record.with_credential(record.id, "" if sealed is None else self._box.decrypt(sealed, record.id))
        except CannotDecrypt:
            return "credential_unreadable"

    def state(self, record: UpstreamRecord) -> State:
        """Return whether calls may go there."""
        opened = self.open(record) if record.enabled else "disabled"
        return "ready" if isinstance(opened, Upstream) else opened

    def _tell(self, faults: dict[str, Fault]) -> None:
        """Log what is left out against somebody's will, once."""
        for name, fault in faults.items():
            if self._faults.get(name) != fault:
                _log.error("upstream_left_out", upstream=name, reason=fault)
        self._faults = faults
