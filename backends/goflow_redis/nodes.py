"""A run's node instances: their states, what came to them, what they recorded, and every attempt at them.

Of a settled node its own record tells the last attempt; those before are in a list, in the order they ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from goflow.backend import Attempt, NodeRun
from goflow.errors import UnknownRun
from goflow.message import Failure
from goflow.payload import Payload
from goflow_redis import journal, records, words
from goflow_redis.names import named
from goflow_redis.records import NodeRecord, RunRecord
from goflow_redis.store import SCAN, Store

if TYPE_CHECKING:
    from goflow.wholesale import Arrived


class Nodes(Store):
    """Reading the nodes of a run. All raise UnknownRun for an id the store does not hold."""

    def nodes(self, run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
        """The recorded node instances (all, or those named) in the order they were first ready."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id, paths)
        return self._as_nodes(run_id, run, lines, self._failures(run_id, lines))

    def node_pages(self, run_id: str) -> Iterator[Sequence[NodeRun]]:
        """All recorded node instances, about a thousand at a time; of those that were told only the paths are
        kept, since a scan may come by one twice."""
        run, _ = self.read(run_id)
        for lines in self._line_pages(run_id):
            yield self._as_nodes(run_id, run, lines, self._failures(run_id, lines))

    def nodes_and_tries(self, run_id: str) -> tuple[list[NodeRun], list[Attempt]]:
        """The node instances, and the attempts that their own records do not tell, of one look at them."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id)
        failures = self._failures(run_id, lines)
        nodes = self._as_nodes(run_id, run, lines, failures)
        found = self._listed(run_id, run)
        if run.now.round == 1:
            several = {attempt.path for _, attempt in found}
            lines = {
                path: record
                for path, record in lines.items()
                if record.state != "D" or path in several
            }
        return nodes, self._in_order([*records.last_attempts(run, lines, failures), *found])

    def order_and_tries(self, run_id: str) -> tuple[list[str], list[Attempt]]:
        """The paths of the node instances in the order of `nodes`, and the attempts that their own records do not tell:
        records are looked at one by one, and only those that have such attempts are kept."""
        run, _ = self.read(run_id)
        found = self._listed(run_id, run)
        several = {attempt.path for _, attempt in found}
        order: list[tuple[int, str]] = []
        lines: dict[str, NodeRecord] = {}
        for field, line in self.scan(self.keys.run(run_id)):
            if field.startswith(b":"):
                continue
            path, record = field.decode(), records.read_node(line)
            order.append((record.seq or 1 << 60, path))
            if run.now.round > 1 or record.state != "D" or path in several:
                lines[path] = record
        last = records.last_attempts(run, lines, self._failures(run_id, lines))
        order.sort()
        return [path for _, path in order], self._in_order([*last, *found])

    def arrivals(self, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
        """What has arrived at a node instance over its edges."""
        self.read(run_id)
        found = list(self.read_arrivals(run_id, path, closing=False))
        parts = (found[first : first + SCAN] for first in range(0, len(found), SCAN))
        return [pair for part in parts for pair in self.resolve(run_id, part)]

    def all_arrivals(self, run_id: str, paths: Sequence[str]) -> list[Arrived]:
        """What has arrived at node instances over their edges."""
        self.read(run_id)
        lines = self.node_lines(run_id, paths)
        found = [
            list(self.arrived(run_id, path, lines[path], closing=False)) if path in lines else []
            for path in paths
        ]
        flat = [pair for each in found for pair in each]
        parts = (flat[first : first + SCAN] for first in range(0, len(flat), SCAN))
        brought = iter([pair for part in parts for pair in self.resolve(run_id, part)])
        return [[next(brought) for _ in each] for each in found]

    def output(self, run_id: str, path: str) -> Payload | None:
        """What a node instance recorded; None where it has recorded nothing (yet)."""
        key = self.keys.run(run_id)
        there, stored = self.link.ask_all(key, [("EXISTS", key), ("HGET", f"{key}:d", f"o:{path}")])
        if not there:
            raise UnknownRun(run_id)
        return None if stored is None else words.disclose(stored)

    def outputs(self, run_id: str, paths: Sequence[str]) -> list[Payload | None]:
        """What node instances recorded."""
        key = self.keys.run(run_id)
        if not self.link.ask(key, "EXISTS", key):
            raise UnknownRun(run_id)
        told = self._told(run_id, [f"o:{path}" for path in paths])
        values = (told[f"o:{path}"] for path in paths)
        return [None if value is None else words.disclose(value) for value in values]

    def attempts(self, run_id: str) -> list[Attempt]:
        """Every recorded attempt of every round, oldest first."""
        run, _ = self.read(run_id)
        told = self._listed(run_id, run)
        for lines in self._line_pages(run_id):
            told += records.last_attempts(run, lines, self._failures(run_id, lines))
        return self._in_order(told)

    def last_attempts(self, run_id: str, paths: Iterable[str]) -> list[tuple[int, Attempt]]:
        """The last attempts of settled node instances, which their own records tell, numbered."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id, paths)
        return records.last_attempts(run, lines, self._failures(run_id, lines))

    def attempts_at(self, run_id: str, path: str) -> list[Attempt]:
        """Every recorded attempt at one node instance, oldest first."""
        run, _ = self.read(run_id)
        listed = [pair for pair in self._listed(run_id, run) if pair[1].path == path]
        return self._in_order([*self.last_attempts(run_id, [path]), *listed])

    def _line_pages(self, run_id: str) -> Iterator[dict[str, NodeRecord]]:
        """The records of all node instances, in pieces."""
        found = self.scan(self.keys.run(run_id))
        while some := list(islice(found, SCAN)):
            yield {
                path.decode(): records.read_node(line)
                for path, line in some
                if not path.startswith(b":")
            }

    def _as_nodes(
        self,
        run_id: str,
        run: RunRecord,
        lines: dict[str, NodeRecord],
        failures: dict[str, Failure],
    ) -> list[NodeRun]:
        ordered = [
            path for _, path in sorted((r.seq or 1 << 60, path) for path, r in lines.items())
        ]
        told = self._told(run_id, [f"k:{p}" for p in ordered if "k" in lines[p].flags])
        keys = {field[2:]: words.read_keys(stored) for field, stored in told.items()}
        return [
            records.as_node(path, lines[path], run, failures.get(path), keys.get(path))
            for path in ordered
        ]

    def _failures(self, run_id: str, lines: dict[str, NodeRecord]) -> dict[str, Failure]:
        """Why nodes failed, by path, of those whose records say that they have."""
        failed = [f"f:{path}" for path, record in lines.items() if "e" in record.flags]
        read = (
            (field[2:], words.read_failure(stored))
            for field, stored in self._told(run_id, failed).items()
        )
        return {path: failure for path, failure in read if failure is not None}

    def _told(self, run_id: str, fields: list[str]) -> dict[str, bytes | None]:
        key = f"{self.keys.run(run_id)}:d"
        found: dict[str, bytes | None] = {}
        for first in range(0, len(fields), SCAN):
            part = fields[first : first + SCAN]
            found.update(zip(part, self.link.ask(key, "HMGET", key, *part), strict=True))
        return found

    def _listed(self, run_id: str, run: RunRecord) -> list[tuple[int, Attempt]]:
        """The attempts that were followed by others, or repeated by a later round, numbered."""
        key = f"{self.keys.run(run_id)}:a"
        flow, fingerprint = run.id.flow, run.id.fingerprint
        stored = self.link.ask(key, "LRANGE", key, 0, -1)
        return [journal.read_attempt(each, flow, fingerprint) for each in stored]

    def _in_order(self, numbered: list[tuple[int, Attempt]]) -> list[Attempt]:
        ordered = sorted(numbered, key=lambda pair: pair[0])
        return named(self, [attempt for _, attempt in ordered])
