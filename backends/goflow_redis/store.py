"""What the three parts of the backend stand on: the link, the keys, and reading a run's records."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters
from typing import TYPE_CHECKING, Final, Literal
from uuid import uuid4

from goflow.backend import FlowKey
from goflow.errors import UnknownRun
from goflow.message import Claim, Failure, Task, pack
from goflow.payload import Payload
from goflow_redis import records, words
from goflow_redis.keys import Keys
from goflow_redis.link import Link
from goflow_redis.records import NodeRecord, RunRecord

if TYPE_CHECKING:
    from goflow_redis.queuewaker import QueueWaker

#: fields read by one HSCAN step
SCAN: Final = 1000
#: what fields of a run's hash begin with that are no node's
_OWN: Final = ord(":")
#: ms are what scripts count in
MS: Final = 1000


class Store:
    """State and reading shared by `Queue`, `Runs` and `Directory`. `lease` is in seconds."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        lease: float,
        retention: float,
        dead: float,
        traced: bool = False,
    ) -> None:
        self.link = link
        #: what error messages call it, without credentials
        self.name = link.name
        self.keys = keys
        self.lease = lease
        #: ms that finished runs are kept, and failed ones
        self.retention = max(MS, int(retention * MS))
        self.dead = max(MS, int(dead * MS))
        #: whether runs are to be told as traces
        self.traced = traced
        #: the letters that its claims begin with
        self.mark = "".join(random.choices(ascii_letters, k=2))
        self.who = f"{socket.gethostname()}:{os.getpid()}"
        #: definitions anybody asked for through this connection
        self.asked: set[FlowKey] = set()
        #: those that claims through this connection wake
        self.wakers: tuple[QueueWaker, ...] = ()
        #: the run it has submitted last, whether somebody waits for that one alone, so that the next will be waited
        #: for too, and whether its end is told already
        self.submitted_last = ""
        self.waits_for_one = False
        self.end_told = ""
        #: when it was submitted
        self.end_told_at = 0.0
        #: fingerprints of flows' present definitions, as seen last
        self._present: dict[str, str] = {}
        #: names of workers by their numbers, as seen
        self.names: dict[str, str] = {}
        #: workers that entered by this connection, as they are recorded
        self.entered: dict[int, bytes] = {}
        self._staged: dict[str, int] = {}
        #: what a renewal had to leave out, by worker, partition and place
        self._unrenewed: dict[tuple[int, str, int], Sequence[Task]] = {}
        self._unanswered: dict[tuple[str, int], str] = {}
        #: claims of calls that failed later on, by worker: the next call hands them over
        self._undelivered: dict[int, list[Claim]] = {}
        #: calls of COUNT that were answered, by worker
        self._counted: dict[int, int] = {}
        self._nonce = uuid4().hex[:12]
        self._calls = itertools.count(random.randrange(1 << 20))
        self._turns = itertools.count()
        #: how far housekeeping has come: the last flow of a partition, and where in a flow's list it goes on
        self._swept: dict[str, str] = {}
        self._positions: dict[tuple[str, str], str] = {}

    @property
    def lives(self) -> bytes:
        """How long ended runs are kept, our lease, and whether runs are to be told, as every script is."""
        times = (self.retention, self.dead, int(self.lease * MS))
        return pack((*map(str, times), self.traced))

    def grouped(self, run_ids: Sequence[str]) -> list[tuple[str, list[int]]]:
        """Positions of run ids by their partition."""
        if len(self.keys.partitions) == 1:
            return [(self.keys.partitions[0], list(range(len(run_ids))))] if run_ids else []
        groups: dict[str, list[int]] = {}
        for place, run_id in enumerate(run_ids):
            groups.setdefault(self.keys.partition(run_id), []).append(place)
        return list(groups.items())

    # -- workers' leases --------------------------------------------------------------------------

    def alive(self, worker: int) -> None:
        """A sign of life: the worker's own lease begins anew."""
        said = self.entered.get(worker, b"")
        self.link.run("alive", self.keys.directory, [worker, int(self.lease * MS), said])

    def keep_leases(
        self, partition: str, held: Sequence[Task]
    ) -> list[tuple[Task, Literal["lost", "stop"]]]:
        """Those of tasks that are held there begin anew. Answers those that must be killed."""
        args: list[words.Word] = [self.lives, len(held)]
        for task in held:
            args += (task.run_id, task.path, words.hold_of(task))
        answers = self.link.run("renew", partition, args)
        return [
            (task, "lost" if answer == 1 else "stop")
            for task, answer in zip(held, answers, strict=True)
            if answer
        ]

    def keep_late(self) -> None:
        """The same for those that could not be kept in time, where their server is back: others wait no longer than
        a lease for that. Which must be killed the next renewal answers."""
        for place, held in list(self._unrenewed.items()):
            with self.link.servers.apart:
                self.keep_leases(place[1], held)
                self._unrenewed.pop(place, None)  # its worker may have renewed it meanwhile

    def clock(self) -> float:
        """The directory's server's time, in seconds since the epoch."""
        seconds, microseconds = self.link.ask(self.keys.directory, "TIME")
        return int(seconds) + int(microseconds) / 1e6

    def classes(self, partition: str) -> list[str]:
        """The queues of a partition, as `flow:fingerprint`."""
        known = self.link.ask(partition, "SMEMBERS", f"{partition}:classes")
        return sorted(each.decode() for each in known)

    def flows(self, partition: str) -> list[str]:
        """The flows that a partition has lists of runs of."""
        known = self.link.ask(partition, "SMEMBERS", f"{partition}:flows")
        return sorted(each.decode() for each in known)

    # -- records ----------------------------------------------------------------------------------

    def read(self, run_id: str) -> tuple[RunRecord, Failure | None]:
        """A run's record and why it failed. Raises UnknownRun."""
        key = self.keys.run(run_id)
        (lines, failure) = self.link.ask_all(
            key, [("HMGET", key, ":s", ":i"), ("HGET", f"{key}:d", "f:")]
        )
        if lines[0] is None:
            raise UnknownRun(run_id)
        return records.read_run(*lines), words.read_failure(failure)

    def node_lines(self, run_id: str, paths: Iterable[str] | None = None) -> dict[str, NodeRecord]:
        """Records of node instances, all or those named; large runs are read in steps."""
        key = self.keys.run(run_id)
        if paths is not None:
            wanted = list(paths)
            lines: dict[str, NodeRecord] = {}
            for first in range(0, len(wanted), SCAN):
                part = wanted[first : first + SCAN]
                found = self.link.ask(key, "HMGET", key, *part)
                for path, line in zip(part, found, strict=True):
                    if line is not None and not path.startswith(":"):
                        lines[path] = records.read_node(line)
            return lines
        lines = {}
        for found in self._steps(key, "*"):
            for field, line in found.items():
                if field[0] != _OWN:
                    lines[field.decode()] = records.read_node(line)
        return lines

    def scan(self, key: str, match: str = "*") -> Iterator[tuple[bytes, bytes]]:
        """Every field of a hash that matches, each once, without holding up the server."""
        seen: set[bytes] = set()
        for found in self._steps(key, match):
            for field in seen.intersection(found):
                del found[field]
            seen.update(found)
            yield from found.items()

    def _steps(self, key: str, match: str) -> Iterator[dict[bytes, bytes]]:
        """What each step of a scan tells; one field may be told by several."""
        cursor = b"0"
        while True:
            cursor, flat = self.link.ask(key, "HSCAN", key, cursor, "MATCH", match, "COUNT", SCAN)
            pairs = iter(flat)
            yield dict(zip(pairs, pairs, strict=True))
            if cursor == b"0":
                return

    def read_arrivals(self, run_id: str, path: str, *, closing: bool) -> Iterator[tuple[str, str]]:
        """Source and data field of each arrival at a node instance, chunk by chunk."""
        record = self.node_lines(run_id, [path]).get(path)
        if record is not None:
            yield from self.arrived(run_id, path, record, closing=closing)

    def arrived(
        self, run_id: str, path: str, record: NodeRecord, *, closing: bool
    ) -> Iterator[tuple[str, str]]:
        """The same of one whose record is known: only a wide inbox is then read for."""
        if not closing and record.inbox:
            texts: Iterable[str] = (record.inbox,)
        else:
            texts = (text for _, text in self.chunks(run_id, path, record, closing=closing))
        for text in texts:
            for source, ref in words.read_inbox(text):
                yield source, words.expand(path, source, ref)

    def chunks(
        self, run_id: str, path: str, record: NodeRecord, *, closing: bool
    ) -> Iterator[tuple[str, str]]:
        """Field and text of each chunk of a wide inbox, or of what a branch's scopes brought."""
        letter, expects = ("c", record.closings) if closing else ("i", record.expects)
        key = f"{self.keys.run(run_id)}:d"
        chunks = -(-expects // words.INLINE)
        for first in range(0, chunks, 16):
            numbers = range(first, min(first + 16, chunks))
            fields = [f"{letter}:{number}:{path}" for number in numbers]
            for field, text in zip(fields, self.link.ask(key, "HMGET", key, *fields), strict=True):
                if text:
                    yield field, text.decode()

    def resolve(
        self, run_id: str, arrivals: Sequence[tuple[str, str]]
    ) -> list[tuple[str, Payload | None]]:
        """Arrivals with what they bring."""
        key = f"{self.keys.run(run_id)}:d"
        refs = [ref for _, ref in arrivals if ref]
        stored = iter(self.link.ask(key, "HMGET", key, *refs) if refs else ())
        found: list[tuple[str, Payload | None]] = []
        for source, ref in arrivals:
            value = next(stored) if ref else None
            found.append((words.unescape(source), words.disclose(value) if value else None))
        return found
