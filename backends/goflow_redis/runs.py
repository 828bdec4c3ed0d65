"""The runs: reading, steering, waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from goflow.backend import Access, Action, Attempt, LogLine, NodeRun, Retry, Run
from goflow.errors import Conflict, GoflowError, RunFailed, RunStopped, UnknownRun, VersionGone
from goflow.glimpse import Glimpse, Glimpses, ending
from goflow.message import Failure, Request
from goflow.payload import EMPTY, Payload
from goflow.state import RunState
from goflow_redis import journal, records, submission, words
from goflow_redis.listing import newest
from goflow_redis.records import NodeRecord, RunRecord
from goflow_redis.rewind import open_round
from goflow_redis.store import SCAN, Store
from goflow_redis.waker import EndsWaker, QueueWaker, RunWaker

if TYPE_CHECKING:
    from goflow.wholesale import Arrived, Look

#: pieces of logs read at a time
PIECES: Final = 256
#: results read by one script call
RESULTS: Final = 64


class Runs(Store):
    """Reading and steering runs. All raise UnknownRun for an id the store does not hold."""

    #: the end node of the run whose result was read last: likely that of the next, which then takes one
    #: round trip
    _end = ""

    def run(self, run_id: str) -> Run:
        """The run as it is now."""
        return records.as_run(run_id, *self.read(run_id))

    def runs(
        self,
        flow: str | None = None,
        state: RunState | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """The newest first, or those older than one."""
        return newest(self, flow, state, limit, before)

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made. Raises RunFailed, RunStopped; Conflict where it has not ended."""
        key, guess = self.keys.run(run_id), self._end
        lines, (failure, path, stored) = self.link.ask_all(
            key,
            [("HMGET", key, ":s", ":i"), ("HMGET", f"{key}:d", "f:", "e", f"o:{guess}")],
        )
        if lines[0] is None:
            raise UnknownRun(run_id)
        run = records.as_run(run_id, records.read_run(*lines), words.read_failure(failure))
        if run.state is RunState.FAILED:
            raise RunFailed(run_id, run.error)
        if run.state is RunState.STOPPED:
            raise RunStopped(run_id)
        if not run.state.terminal:
            raise Conflict(f"run {run_id} has not ended: it is {run.state}")
        if path is None:
            return EMPTY
        self._end = path.decode()
        if self._end != guess:
            return self.output(run_id, self._end) or EMPTY
        return EMPTY if stored is None else words.disclose(stored)

    def results(self, run_ids: Sequence[str]) -> list[Look | GoflowError]:
        """Each run as it is now, with what it made."""
        found: dict[int, Look | GoflowError] = {}
        for partition, places in self.grouped(run_ids):
            for first in range(0, len(places), RESULTS):
                some = places[first : first + RESULTS]
                ids = [run_ids[place] for place in some]
                told = self.link.run("results", partition, [self.lives, *ids])
                found |= zip(some, map(_look, ids, told), strict=True)
        return [found[place] for place in range(len(run_ids))]

    def request(self, run_id: str) -> Request:
        """What was submitted."""
        key = self.keys.run(run_id)
        lines, stored = self.link.ask_all(
            key, [("HMGET", key, ":s", ":i", ":h", ":d"), ("HGET", f"{key}:d", "q")]
        )
        if lines[0] is None or stored is None:
            raise UnknownRun(run_id)
        return submission.read_request(run_id, lines, stored)

    def nodes(self, run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
        """The recorded node instances (all, or those named) in the order they were first ready."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id, paths)
        return self._as_nodes(run_id, run, lines, self._failures(run_id, lines))

    def node_pages(self, run_id: str) -> Iterator[Sequence[NodeRun]]:
        """All recorded node instances, about a thousand at a time; of those that were told only the paths are
        kept, since a scan may come by one twice."""
        run, _ = self.read(run_id)
        found = self.scan(self.keys.run(run_id))
        while some := list(islice(found, SCAN)):
            lines = {
                path.decode(): records.read_node(line)
                for path, line in some
                if not path.startswith(b":")
            }
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
        return nodes, _in_order([*records.last_attempts(run, lines, failures), *found])

    def _as_nodes(
        self,
        run_id: str,
        run: RunRecord,
        lines: dict[str, NodeRecord],
        failures: dict[str, Failure],
    ) -> list[NodeRun]:
        ordered = sorted(lines, key=lambda path: (lines[path].seq or 1 << 60, path))
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

    def arrivals(self, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
        """What has arrived at a node instance over its edges."""
        self.read(run_id)
        found = list(self.read_arrivals(run_id, path, closing=False))
        parts = (found[first : first + SCAN] for first in range(0, len(found), SCAN))
        return [pair for part in parts for pair in self.resolve(run_id, part)]

    def output(self, run_id: str, path: str) -> Payload | None:
        """What a node instance recorded; None where it has recorded nothing (yet)."""
        key = self.keys.run(run_id)
        there, stored = self.link.ask_all(key, [("EXISTS", key), ("HGET", f"{key}:d", f"o:{path}")])
        if not there:
            raise UnknownRun(run_id)
        return None if stored is None else words.disclose(stored)

    def glimpse_request(self, run_id: str, most: int) -> tuple[Request, int]:
        """What was submitted, its payload cut; and the bytes that payload has."""
        key = self.keys.run(run_id)
        lines = self.link.ask(key, "HMGET", key, ":s", ":i", ":h", ":d")
        (seen,) = self._glimpses(run_id, ["q"], most)
        if lines[0] is None or seen is None:
            raise UnknownRun(run_id)
        stored = words.enclose(seen.payload)
        return submission.read_request(run_id, lines, stored), seen.size

    def glimpse_output(self, run_id: str, path: str | None, most: int) -> Glimpse | None:
        """The beginning of what a node instance recorded, or of the run's result."""
        key = self.keys.run(run_id)
        there, end = self.link.ask_all(key, [("EXISTS", key), ("HGET", f"{key}:d", "e")])
        if not there:
            raise UnknownRun(run_id)
        if path is None and end is None:
            return None
        return self._glimpses(run_id, [f"o:{path or end.decode()}"], most)[0]

    def glimpse_arrivals(self, run_id: str, path: str, most: int, count: int) -> Glimpses:
        """The beginnings of the first arrivals at a node instance, and how many there are."""
        self.read(run_id)
        found = list(self.read_arrivals(run_id, path, closing=False))
        told = found[:count]
        seen = iter(self._glimpses(run_id, [ref for _, ref in told if ref], most))
        pairs = [(words.unescape(source), next(seen) if ref else None) for source, ref in told]
        return pairs, len(found)

    def _glimpses(self, run_id: str, fields: list[str], most: int) -> list[Glimpse | None]:
        """The beginnings of stored payloads, each of which has a letter in front."""
        if not fields:
            return []
        args: list[words.Word] = [self.lives, run_id, most + 1, *fields]
        told = iter(self.link.run("glimpse", self.keys.partition(run_id), args))
        return [
            None if start is None else Glimpse(words.disclose(start), length - 1)
            for length, start in zip(told, told, strict=True)
        ]

    def outputs(self, run_id: str, paths: Sequence[str]) -> list[Payload | None]:
        """What node instances recorded."""
        key = self.keys.run(run_id)
        if not self.link.ask(key, "EXISTS", key):
            raise UnknownRun(run_id)
        told = self._told(run_id, [f"o:{path}" for path in paths])
        values = (told[f"o:{path}"] for path in paths)
        return [None if value is None else words.disclose(value) for value in values]

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

    def attempts(self, run_id: str) -> list[Attempt]:
        """Every recorded attempt of every round, oldest first."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id)
        last = records.last_attempts(run, lines, self._failures(run_id, lines))
        return _in_order([*last, *self._listed(run_id, run)])

    def last_attempts(self, run_id: str, paths: Iterable[str]) -> list[tuple[int, Attempt]]:
        """The last attempts of settled node instances, which their own records tell, numbered."""
        run, _ = self.read(run_id)
        lines = self.node_lines(run_id, paths)
        return records.last_attempts(run, lines, self._failures(run_id, lines))

    def _listed(self, run_id: str, run: RunRecord) -> list[tuple[int, Attempt]]:
        """The attempts that were followed by others, or repeated by a later round, numbered."""
        key = f"{self.keys.run(run_id)}:a"
        flow, fingerprint = run.id.flow, run.id.fingerprint
        stored = self.link.ask(key, "LRANGE", key, 0, -1)
        return [journal.read_attempt(each, flow, fingerprint) for each in stored]

    def logs(
        self, run_id: str, path: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogLine]:
        """What its nodes printed, from the piece after `after`, at most `limit` pieces."""
        key = self.keys.run(run_id)
        if not self.link.ask(key, "EXISTS", key):
            raise UnknownRun(run_id)
        found: list[LogLine] = []
        step = PIECES if limit is None or path is not None else min(limit, PIECES)
        while limit is None or len(found) < limit:
            stored = self.link.ask(key, "LRANGE", f"{key}:l", after, after + step - 1)
            lines = (journal.read_log(after + n, each) for n, each in enumerate(stored, start=1))
            found += [line for line in lines if path in (None, line.path)]
            after += len(stored)
            if len(stored) < step:
                break
        return found[:limit]

    def last_logs(self, run_id: str, path: str | None, most: int) -> list[LogLine]:
        """The last pieces of what its nodes printed."""
        key = self.keys.run(run_id)
        there, count = self.link.ask_all(key, [("EXISTS", key), ("LLEN", f"{key}:l")])
        if not there:
            raise UnknownRun(run_id)
        return ending(self._backwards(f"{key}:l", count, path), most)

    def _backwards(self, key: str, count: int, path: str | None) -> Iterator[LogLine]:
        """Pieces of a log from the last to the first."""
        for end in range(count, 0, -PIECES):
            first = max(0, end - PIECES)
            stored = self.link.ask(key, "LRANGE", key, first, end - 1)
            for number, each in reversed(list(enumerate(stored, start=first + 1))):
                line = journal.read_log(number, each)
                if path in (None, line.path):
                    yield line

    def attempts_at(self, run_id: str, path: str) -> list[Attempt]:
        """Every recorded attempt at one node instance, oldest first."""
        run, _ = self.read(run_id)
        listed = [pair for pair in self._listed(run_id, run) if pair[1].path == path]
        return _in_order([*self.last_attempts(run_id, [path]), *listed])

    def control(self, run_id: str, action: Action) -> Run:
        """Pause, resume or stop; harmless when repeated. Raises Conflict on a run that has ended."""
        partition = self.keys.partition(run_id)
        how, *rest = self.link.run("control", partition, [self.lives, run_id, action])
        if how == b"gone":
            raise UnknownRun(run_id)
        state, identity, failure = rest
        run = records.as_run(run_id, records.read_run(state, identity), words.read_failure(failure))
        if how == b"ended":
            raise Conflict(f"cannot {action} run {run_id}: it has ended ({run.state})")
        return run

    def retry(self, run_id: str, retry: Retry) -> Run:
        """Open a new round. Raises Conflict for one still on its way, or a succeeded one without a
        rewind."""
        return open_round(self, run_id, retry)

    def forget(self, run_id: str) -> None:
        """Remove a run that has ended, with everything of it. Raises Conflict for one on its way."""
        partition = self.keys.partition(run_id)
        args: list[words.Word] = [self.lives, run_id]

        def ask(attempt: int) -> tuple[bytes, bytes]:
            how, state = self.link.run_once("forget", partition, args)
            # the first call may have been executed and its answer lost
            return (b"ok" if attempt and how == b"gone" else how), state

        how, state = self.link.patiently(partition, ask)
        if how == b"gone":
            raise UnknownRun(run_id)
        if how == b"live":
            raise Conflict(
                f"cannot forget run {run_id}: it has not ended ({state.decode()});"
                f" `goflow stop {run_id}` first"
            )

    def context(self, run_id: str, key: str) -> Payload | None:
        """A value of the run's shared store, as committed."""
        return self.present(run_id, key)[1]

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value."""
        stored, told = self._context(run_id, f"v:{key}", f"u:{key}")
        return _numbers(told)[0], words.disclose(stored) if stored else None

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was. Raises VersionGone where that is not kept."""
        past, stored, told = self._context(run_id, f"w:{number}:{key}", f"v:{key}", f"u:{key}")
        last, first = _numbers(told)
        if number == last:
            past = stored
        elif past is None and not number == first == 0:  # 0 is kept where there was something
            raise VersionGone(key, number)
        return words.disclose(past) if past else None

    def _context(self, run_id: str, *fields: str) -> list[bytes | None]:
        """Fields of a run's data."""
        name = self.keys.run(run_id)
        there, found = self.link.ask_all(name, [("EXISTS", name), ("HMGET", f"{name}:d", *fields)])
        if not there:
            raise UnknownRun(run_id)
        told: list[bytes | None] = found
        return told

    def accesses(self, run_id: str) -> list[Access]:
        """What attempts of every round read and wrote, in the order they were recorded."""
        key = self.keys.run(run_id)
        self.read(run_id)
        found: list[Access] = []
        while stored := self.link.ask(
            key, "LRANGE", f"{key}:c", len(found), len(found) + PIECES - 1
        ):
            found += map(journal.read_access, stored)
        return found

    def context_keys(self, run_id: str) -> list[str]:
        """The keys of the run's shared store, sorted."""
        self.read(run_id)
        fields = self.scan(f"{self.keys.run(run_id)}:d", match="v:*")
        return sorted(field.decode()[len("v:") :] for field, _ in fields)

    def watch_ends(self) -> EndsWaker:
        """Wakes when runs have ended. Nothing that ends after this returns is missed."""
        return EndsWaker(self)

    def watch_end(self, run_id: str) -> RunWaker:
        """Wakes when the run has ended; at once where it has."""
        return RunWaker(self, run_id, ends=True)

    def watch(self, run_id: str | None = None) -> QueueWaker | RunWaker:
        """Wakes when the run (None: anything claimable) may have changed. Nothing that happens after
        this returns is missed."""
        if run_id is None:
            return QueueWaker(self)
        return RunWaker(self, run_id)


def _numbers(told: bytes | None) -> tuple[int, int]:
    """The present version of a context key and the oldest that is kept, as `u:` tells them."""
    last, first, _ = (told or b"0:0:0").split(b":")
    return int(last), int(first)


def _in_order(numbered: list[tuple[int, Attempt]]) -> list[Attempt]:
    return [attempt for _, attempt in sorted(numbered, key=lambda pair: pair[0])]


def _look(run_id: str, told: Sequence[Any]) -> Look | GoflowError:
    """What RESULTS tells of one run."""
    state, identity, failure, result = told
    if state is None:
        return UnknownRun(run_id)
    run = records.as_run(run_id, records.read_run(state, identity), words.read_failure(failure))
    if run.state is not RunState.SUCCEEDED:
        return run, None
    return run, EMPTY if result is None else words.disclose(result)
