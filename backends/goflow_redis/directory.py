"""The directory: who is there, and which flows they know. Its keys share one slot, apart from any run's."""

from __future__ import annotations

import time
from typing import Final
from uuid import uuid4

import msgspec

from goflow.backend import Definition, WorkerInfo
from goflow.errors import UnknownFlow
from goflow.message import Outcome, Task
from goflow_redis import words
from goflow_redis.names import leaving
from goflow_redis.queue import Queue
from goflow_redis.store import MS
from goflow_redis.waiting import Waiting
from goflow_redis.words import Word

#: how many of the tasks that are held are told, and looked at by one script call
_DOING: Final = 1000
_LOOK: Final = 100

_definition = msgspec.msgpack.Decoder(Definition)
_worker = msgspec.msgpack.Decoder(WorkerInfo)


class Directory(Queue, Waiting):
    """Workers, definitions, nonces."""

    def enter(self, info: WorkerInfo) -> int:
        """Register a worker; answers its id. It is alive until `leave` or until its lease ends."""
        top = self.keys.directory
        worker = int(self.link.ask(top, "INCR", f"{top}:ids"))
        told = msgspec.structs.replace(info, id=worker, lease=self.lease)
        packed = msgspec.msgpack.encode(told)
        self.entered[worker] = packed
        self.alive(worker)
        return worker

    def leave(self, worker: int) -> None:
        """The worker has ended: what it still holds goes back without a penalty. Another may have its number,
        given again after a failover that lost the last ones; what that one holds was claimed by another connection.
        """
        top, now = self.keys.directory, time.time()
        packed = self.entered.pop(worker, None)
        for partition in self.keys.partitions:
            with self.link.servers.apart:  # there it is taken back when its lease is over
                left = [
                    Outcome(Task(run_id, "", "", path, entry), now, now, released=True)
                    for holder, run_id, path, entry in self._held(partition)
                    if holder == worker and words.letters_of(entry).startswith(self.mark)
                ]
                if left:
                    self.commit(left)
        packed = packed or self.link.ask(top, "HGET", f"{top}:workers", worker)
        self.link.ask_all(top, leaving(self, {worker: packed}))

    def workers(self) -> list[WorkerInfo]:
        """Who is there; those whose lease is over are told for an hour more."""
        top = self.keys.directory
        packed, leases = self.link.ask_all(
            top,
            [("HGETALL", f"{top}:workers"), ("ZRANGE", f"{top}:alive", 0, -1, "WITHSCORES")],
        )
        ends = {int(worker): float(end) / MS for worker, end in _pairs(leases)}
        doing, now = self._doing(), self.clock()
        found = []
        for number, stored in _pairs(packed):
            worker = int(number)
            info, end = _worker.decode(stored), ends.get(worker, now)
            found.append(
                msgspec.structs.replace(
                    info,
                    doing=tuple(doing.get(worker, ())),
                    alive=end > now,
                    silent=max(0.0, now - (end - info.lease)),
                )
            )
        return sorted(found, key=lambda info: info.id)

    def _doing(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for worker, run_id, path, _ in self.held():
            found.setdefault(worker, []).append(f"{run_id}/{path}")
        return found

    def held(self) -> list[tuple[int, str, str, str]]:
        """Worker, run id, node path and token of held tasks."""
        return [each for partition in self.keys.partitions for each in self._held(partition)]

    def _held(self, partition: str) -> list[tuple[int, str, str, str]]:
        found = []
        for name in self.classes(partition):
            last: Word = ""
            for _ in range(_DOING // _LOOK):
                args: list[Word] = [self.lives, name, _LOOK, last]
                last, *told = self.link.run("held", partition, args)
                words_of = iter(told)
                for worker, run_id, path, entry in zip(*[words_of] * 4, strict=True):
                    found.append((int(worker), run_id.decode(), path.decode(), entry.decode()))
                if not last:
                    break
        return found

    def register(self, definition: Definition) -> None:
        """Remember a definition; the one registered last is the flow's present one."""
        top, name = self.keys.directory, f"{definition.flow}:{definition.fingerprint}"
        if not definition.registered:
            definition = msgspec.structs.replace(definition, registered=time.time())
        self.link.ask_all(
            top,
            [
                ("HSET", f"{top}:definitions", name, msgspec.msgpack.encode(definition)),
                ("HSET", f"{top}:flows", definition.flow, definition.fingerprint),
            ],
        )

    def definition(self, flow: str, fingerprint: str | None = None) -> Definition:
        """The present one, or that with the fingerprint. Raises UnknownFlow."""
        top, key = self.keys.directory, f"{self.keys.directory}:definitions"
        if fingerprint is None:
            # the present one is likely that of last time: then one round trip tells both
            guess = self._present.get(flow, "")
            found, stored = self.link.ask_all(
                top, [("HGET", f"{top}:flows", flow), ("HGET", key, f"{flow}:{guess}")]
            )
            fingerprint = found.decode() if found else ""
            self._present[flow] = fingerprint
            if fingerprint != guess:
                stored = self.link.ask(top, "HGET", key, f"{flow}:{fingerprint}")
        else:
            stored = self.link.ask(top, "HGET", key, f"{flow}:{fingerprint}")
        if stored is None:
            known = self.link.ask(top, "HKEYS", f"{top}:flows")
            raise UnknownFlow(flow, [name.decode() for name in known])
        return _definition.decode(stored)

    def definitions(self) -> list[Definition]:
        """The present definition of every flow, by name."""
        top = self.keys.directory
        flows = self.link.ask(top, "HGETALL", f"{top}:flows")
        names = sorted(f"{flow.decode()}:{print_.decode()}" for flow, print_ in _pairs(flows))
        stored = self.link.ask(top, "HMGET", f"{top}:definitions", *names) if names else []
        return [_definition.decode(each) for each in stored if each is not None]

    def identity(self) -> str:
        """What tells this store from every other; a server that was emptied holds another one."""
        key = f"{self.keys.directory}:meta"
        asked = [("HSETNX", key, "id", uuid4().hex), ("HGET", key, "id")]
        found: bytes = self.link.ask_all(key, asked)[-1]
        return found.decode()

    def remember(self, name: str, seconds: float) -> bool:
        """True the first time a name is seen within its lifetime: for nonces."""
        key, mine = f"{self.keys.directory}:seen:{name}", uuid4().hex

        def ask(attempt: int) -> bool:
            if attempt:  # the first SET may have been executed and its answer lost
                found = self.link.ask(key, "GET", key)
                if found is not None:
                    return bool(found == mine.encode())
            life = max(1, int(seconds * MS))
            return bool(self.link.ask_once(key, "SET", key, mine, "NX", "PX", life))

        return self.link.patiently(key, ask)


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    each = iter(flat)
    return list(zip(each, each, strict=True))
