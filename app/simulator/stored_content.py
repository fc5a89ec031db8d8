"""What is in stored files: of each the beginning, and of all together no more than 64 MiB. The rest is zeros."""

from typing import Final, NamedTuple

from app.simulator.call import Ending
from app.simulator.delivery import Delivery
from app.simulator.exchange import Dropped
from app.simulator.fields import Document

_KEPT_BYTES_MAX: Final = 64 * 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024


class Content(NamedTuple):
    """The beginning of a file, and how long all of it is."""

    kept: bytes = b""
    size_bytes: int = 0


class Contents:
    """The contents by the id of their file; the oldest go first."""

    def __init__(self) -> None:
        self._contents: dict[str, Content] = {}
        self._kept_bytes = 0

    def add(self, file_id: str, kept: bytes, size_bytes: int) -> None:
        """Keep the content of a file."""
        self._contents[file_id] = Content(kept, size_bytes)
        self._kept_bytes += len(kept)
        while self._kept_bytes > _KEPT_BYTES_MAX:
            self.remove(next(iter(self._contents)))

    def find(self, file_id: str) -> Content:
        """Return the content of a file; nothing for one whose content has gone."""
        return self._contents.get(file_id, Content())

    def remove(self, file_id: str) -> None:
        """Forget the content of a file, if there is one."""
        self._kept_bytes -= len(self._contents.pop(file_id, Content()).kept)


async def send_content(delivery: Delivery, content: Content, file: Document) -> Ending:
    """Send a file as it was uploaded, or what the script allows of it; returns how it ended."""
    exchange, script = delivery.exchange, delivery.script
    name = file.get("filename") or file["id"]
    delivery.extra_headers = [(b"content-disposition", f'attachment; filename="{name}"'.encode("latin-1", "replace"))]
    await delivery.start(200, "application/octet-stream", content.size_bytes)
    for count, start in enumerate(range(0, content.size_bytes, _PIECE_BYTES), start=1):
        size_bytes = min(_PIECE_BYTES, content.size_bytes - start)
        await exchange.write(content.kept[start : start + size_bytes].ljust(size_bytes, b"\0"))
        if script.hang == count:
            await exchange.hang()
        if script.cut_after == count:
            raise Dropped(Ending.CUT)
    await exchange.finish()
    return Ending.FINISHED
