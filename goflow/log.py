"""What a child's tasks print, as its supervisor gets it: one stream, cut apart at markers and bounded."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections import deque

_utf8 = getincrementaldecoder("utf-8")


class Log:
    """What the tasks of one child print, each task's bounded to `limit` bytes.

    What is recorded of the task at hand while it runs counts too: `piece` and `recorded`.
    """

    def __init__(self, marker: bytes, limit: int) -> None:
        self.marker = marker
        self._limit = limit
        self._tail = b""
        self._kept = bytearray()
        self._recorded = 0
        self._dropped = 0
        self.finished: deque[bytes] = deque()

    def feed(self, data: bytes) -> bytes:
        """Take what came; answers what may be echoed (no markers)."""
        *whole, rest = (self._tail + data).split(self.marker)
        for piece in whole:
            self._keep(piece)
            self.finished.append(self.take())
        held = _overlap(rest, self.marker)
        self._tail = rest[len(rest) - held :]
        rest = rest[: len(rest) - held]
        self._keep(rest)
        return b"".join([*whole, rest])

    def take(self) -> bytes:
        """What the task at hand has printed, but for what is recorded: it has ended."""
        kept = bytes(self._kept)
        if self._dropped:
            kept += f"\n... {self._dropped} more bytes were not kept\n".encode()
        self._kept.clear()
        self._recorded = self._dropped = 0
        return kept

    @property
    def waits(self) -> bool:
        """Whether the task at hand has printed something that is not recorded."""
        return bool(self._kept) and not self.finished

    def piece(self) -> bytes:
        """What of that may be recorded now: its whole lines. Where there are none, what there is of one,
        without the beginning of a character."""
        lines = self._kept.rfind(b"\n") + 1
        return bytes(self._kept[: lines or len(self._kept) - _torn(bytes(self._kept[-3:]))])

    def recorded(self, piece: bytes) -> None:
        """That piece is recorded."""
        del self._kept[: len(piece)]
        self._recorded += len(piece)

    def _keep(self, piece: bytes) -> None:
        room = max(0, self._limit - self._recorded - len(self._kept))
        self._kept += piece[:room]
        self._dropped += max(0, len(piece) - room)


def _overlap(data: bytes, marker: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of the marker."""
    for length in range(min(len(data), len(marker) - 1), 0, -1):
        if data.endswith(marker[:length]):
            return length
    return 0


def _torn(end: bytes) -> int:
    """How many bytes at the end are the beginning of a UTF-8 character."""
    decoder = _utf8("replace")
    decoder.decode(end)
    return len(decoder.getstate()[0])
