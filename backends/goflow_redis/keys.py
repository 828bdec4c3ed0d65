"""The map of every key. Nothing else in this package spells one, except the scripts, from the same prefix.

All keys of a run and of the queues it goes through share one hash tag, so that every script stays in one
slot of a Redis Cluster. A run's partition is `crc32(run id) % partitions`; how many there are is decided by
whoever connects to an empty store first (1 standalone, 16 in a cluster) and read by everybody else.

`P` is a partition's prefix `gf:{NAMESPACE.3}`, `D` the directory's, `gf:{NAMESPACE}`.

| key | type | life | content |
| --- | --- | --- | --- |
| `D:meta` | hash | for ever | `schema`, `partitions`, `created`, `id` (once asked for) |
| `D:ids` | string | for ever | the last worker id |
| `D:workers` | hash | entries: while they work | worker id -> WorkerInfo |
| `D:alive` | zset | as `D:workers` | worker id by the time (ms) its lease ends |
| `D:left:<worker>` | string | as long as any run that has ended | `HOST:PID` of a worker that has left or was gone for an hour |
| `D:flows` | hash | for ever | flow -> its present fingerprint |
| `D:definitions` | hash | entries: while present, in use or young | `flow:fingerprint` -> Definition |
| `D:seen:<name>` | string | its lifetime | a nonce that was used |
| `D:figures` | hash | for ever | `flow figure` -> how many, as workers counted (goflow/figures.py) |
| `D:counted:<worker>` | string | 1 h | the last call of a worker that was added to them |
| `P:classes` | set | as its queues | `flow:fingerprint` of every queue there is |
| `P:q:<class>` | stream, group `g` | while it is used | ready tasks: `r` run, `n` node path |
| `P:b:<class>` | stream | as its queue | some 100 entries, of which the last counts: when a call left tasks in the queue; wakes idle workers |
| `P:p:<class>` | zset | while not empty | `run:branch` with scopes, `run:` with parked nodes, `run:*` with arrivals to release on demand |
| `P:due` | zset | for ever | `n:run:path` retries, `t:run` run timeouts, `x:run:` runs with more open branches with waiting scopes than one call looks at, by time (ms) |
| `P:walks` | hash | entries: as these dates | run -> how far that has come, and on which server; `K` and the same before a new round, `K` alone when all is kept (`keep.lua`) |
| `P:flows` | set | as their lists and queues | flows that have a list or a queue |
| `P:runs:<flow>` | zset | entries: as their runs | run ids by state and then by creation (us: runs of one millisecond keep their order); scores in `_records.lua` |
| `P:news` | stream | 100 entries | `class` a new queue, `stop` a run to be killed |
| `P:figures` | hash | for ever | `flow state place`, `flow run:ms` of runs that ended; `flow begun` rounds |
| `P:untold` | stream, group `t` | for ever | ended runs that are to be told: `r` run, `n` round, `s` state, `b` `f` when it began and ended (ms) |
| `P:ends` | stream | 30 min after the last look | runs that ended, small results with them, an entry a script call, some 1000 entries; absent when no server listens |
| `P:w:<worker><letters>` | string | 1 h | the tasks of its last claim, for when the reply is lost; the letters are its connection's |
| `P:r:<run>` | hash | R | `:s` `:i` the run (see `_records.lua`), `:h` head, `:d` digest, `:x` nonce of the last retry, `:y` what a round that is being prepared repeats, `:f` it is being forgotten, `:w` until when (ms) somebody watches, half a ms more where it is for the end alone, 0 nobody; node path -> its record |
| `P:r:<run>:d` | hash | R | `q` input, `e` end node, `z` timeout failure, `f:` failure, and by node path `o:` result, `f:` failure, `k:` keys, `p:` payload of an arrival, `i:N:` `c:N:` a chunk of a wide inbox; by context key `v:` value, `u:` number of that version, the oldest that is kept, bytes of those before it, `w:N:` version N as it was |
| `P:r:<run>:a` | list | R | attempts that its node records do not tell |
| `P:r:<run>:l` | list | R | what its nodes printed |
| `P:r:<run>:c` | list | R | which context versions its attempts read and made |
| `P:r:<run>:k` | list | until it ends | parked nodes of a paused run, or of a new round with very many |
| `P:r:<run>:m` | list | R | starts and arrivals of what sends on very much, in pieces that wait for demand |
| `P:r:<run>:x` | set | R | branches that have scopes waiting |
| `P:r:<run>:s:<branch>` | list | R | scopes waiting for room in the branch's window |
| `P:r:<run>:t:<hold>` | list | 1 h | scopes, or pieces of what is sent on, staged by an attempt |
| `P:r:<run>:u:<hold>` | string | 1 h | the last call that staged a chunk or recorded a piece of its log |
| `P:r:<run>:ev` | stream | 30 min after the last look, half a minute after an end that is all that is waited for | wakes whoever watches this run, its end brings a small result; absent when nobody does, and made by SUBMIT for who waited for the run before |

R: for ever while the run is on its way; once it has ended `retention.finished_runs`, or `retention.dead` where it
failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

#: bumped when a record changes its meaning; stores of another schema are refused
SCHEMA: Final = 4
#: partitions of a store made through one server, and through a cluster
STANDALONE_PARTITIONS: Final = 1
CLUSTER_PARTITIONS: Final = 16
#: ms an event stream outlives the last look of whoever watches it
WATCH_LIFE: Final = 1_800_000
#: ms the news of an end are kept for whoever waits for nothing else; as in `_records.lua`
NEWS_LIFE: Final = 30_000


#: type of the key with this name below the directory's prefix, and below a partition's; of the last group,
#: which belongs to a run, by what comes after its id. A `!` has an expiry of its own from the start.
OF_DIRECTORY: Final = {
    "meta": "hash", "ids": "string", "workers": "hash", "alive": "zset", "left": "string!", "flows": "hash",
    "definitions": "hash", "seen": "string!", "figures": "hash", "counted": "string!",
}  # fmt: skip
OF_PARTITION: Final = {
    "classes": "set", "q": "stream", "b": "stream", "p": "zset", "due": "zset", "flows": "set", "runs": "zset", "news": "stream",
    "figures": "hash", "untold": "stream", "ends": "stream!", "w": "string!", "walks": "hash",
}  # fmt: skip
OF_RUN: Final = {
    "": "hash", "d": "hash", "a": "list", "l": "list", "c": "list", "k": "list", "m": "list", "x": "set",
    "s": "list", "t": "list!", "u": "string!", "ev": "stream!",
}  # fmt: skip


class Keys:
    """Names of keys. `partitions` is set once the store's meta record was read."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.directory = f"gf:{{{namespace}}}"
        self.partitions: tuple[str, ...] = ()

    def split(self, partitions: int) -> None:
        """Learn how many partitions the store has."""
        self.partitions = tuple(f"gf:{{{self.namespace}.{n}}}" for n in range(partitions))

    def partition(self, run_id: str) -> str:
        """The prefix of the partition a run lives in."""
        if len(self.partitions) == 1:
            return self.partitions[0]
        return self.partitions[crc32(run_id.encode()) % len(self.partitions)]

    def run(self, run_id: str) -> str:
        """A run's hash; with a suffix from the map, its other keys."""
        return f"{self.partition(run_id)}:r:{run_id}"

    def queue(self, partition: str, flow: str, fingerprint: str) -> str:
        """The stream of ready tasks of a definition."""
        return f"{partition}:q:{flow}:{fingerprint}"

    def of_run(self, run_id: str, branches: Iterable[str]) -> list[str]:
        """Every lasting key of a run; `branches` are those with waiting scopes."""
        key = self.run(run_id)
        lasting = [
            key,
            *(f"{key}:{suffix}" for suffix in ("d", "a", "l", "c", "k", "m", "x", "ev")),
        ]
        return [*lasting, *(f"{key}:s:{branch}" for branch in branches)]

    def runs(self, partition: str, flow: str) -> str:
        """The list of a flow's runs."""
        return f"{partition}:runs:{flow}"

    def of_partition(
        self, partition: str, classes: Iterable[str], flows: Iterable[str]
    ) -> list[str]:
        """Every lasting key of a partition apart from its runs'."""
        queues = [f"{partition}:{letter}:{name}" for name in classes for letter in "qbp"]
        lists = [self.runs(partition, flow) for flow in flows]
        lasting = ("due", "news", "ends", "classes", "flows", "figures", "untold", "walks")
        return [*(f"{partition}:{name}" for name in lasting), *queues, *lists]

    def of_directory(self) -> list[str]:
        """Every lasting key of the directory."""
        names = ("meta", "ids", "workers", "alive", "flows", "definitions", "figures")
        return [f"{self.directory}:{name}" for name in names]
