"""Every key under our prefix, held against the map in `keys`: its type, its owner, its expiry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from goflow.backend import Finding
from goflow_redis.keys import OF_DIRECTORY, OF_PARTITION, OF_RUN, SCHEMA
from goflow_redis.line import Command, Word

if TYPE_CHECKING:
    from goflow_redis.backend import RedisBackend

#: keys looked at by one call
STEP: Final = 1000
#: runs looked at by one script call
RUNS: Final = 50
#: node paths looked at by one script call
PATHS: Final = 50
#: keys named in a message
NAMED: Final = 5
#: the check that each key holds what the map says
KEY_TYPES: Final = "key types"
#: ms until a key goes that should have had an expiry of its own
HOUR: Final = 3_600_000


class Key(NamedTuple):
    """A key under our prefix. `expected` is its type by the map, "" for one that is not on it; `life` is
    in ms, negative for ever; `run` owns it, "" where none does."""

    name: str
    kind: str
    life: int
    expected: str
    brief: bool
    run: str


def keys_of_store(backend: RedisBackend, fix: bool) -> list[Finding]:
    """What is wrong with the store's keys."""
    tops = (backend.keys.directory, *backend.keys.partitions)
    found = {top: list(_keys(backend, top)) for top in tops}
    every = [key for keys in found.values() for key in keys]
    count = "1 partition" if len(tops) == 2 else f"{len(tops) - 1} partitions"
    findings = [
        Finding(name="schema", ok=True, text=f"{SCHEMA}, {count}, {len(every)} keys"),
        _types(every),
    ]
    if not findings[-1].ok:
        return findings  # what holds something else cannot be read any further
    return [
        *findings,
        _brief(backend, every, fix),
        *_runs(backend, found, fix),
        _lost(backend, found, fix),
        _queues(backend, found, fix),
        _flows(backend, found, fix),
    ]


def _keys(backend: RedisBackend, top: str) -> Iterator[Key]:
    """Every key below a prefix, each once, without holding up the server."""
    table = OF_DIRECTORY if top == backend.keys.directory else OF_PARTITION
    seen: set[bytes] = set()
    cursor = b"0"
    while True:
        asked = ("SCAN", cursor, "MATCH", f"{_literally(top)}:*", "COUNT", STEP)
        cursor, names = backend.link.ask(top, *asked)
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        asked_of: list[Command] = [(verb, name) for name in fresh for verb in ("TYPE", "PTTL")]
        answers = iter(backend.link.ask_all(top, asked_of))
        for name, kind, life in zip(fresh, answers, answers, strict=True):
            if kind != b"none":  # it went meanwhile
                yield _placed(table, top, name.decode(errors="replace"), kind.decode(), int(life))
        if cursor == b"0":
            return


def _placed(table: dict[str, str], top: str, name: str, kind: str, life: int) -> Key:
    """Where a key stands on the map."""
    first, _, rest = name[len(top) + 1 :].partition(":")
    run = ""
    if first == "r" and table is OF_PARTITION:
        run, _, rest = rest.partition(":")
        table, first = OF_RUN, rest.partition(":")[0]
    expected = table.get(first, "")
    return Key(name, kind, life, expected.rstrip("!"), expected.endswith("!"), run)


def _literally(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def _types(every: Sequence[Key]) -> Finding:
    """Keys that hold something else than they should."""
    wrong = [
        f"{key.name} holds a {key.kind}, expected {'a ' + key.expected if key.expected else 'no such key'}"
        for key in every
        if key.kind != key.expected
    ]
    if not wrong:
        return Finding(name=KEY_TYPES, ok=True, text="every key holds what it should")
    text = f"{_some(wrong)}: remove or rename what is not goflow's, or use another redis.namespace"
    return Finding(name=KEY_TYPES, ok=False, text=text)


def _brief(backend: RedisBackend, every: Iterable[Key], fix: bool) -> Finding:
    """Keys that should have an expiry of their own and have none."""
    name = "passing keys"
    bare = [key.name for key in every if key.brief and key.life == -1]
    if not bare:
        return Finding(name=name, ok=True, text="every one has an expiry")
    if not fix:
        return _leak(name, f"without an expiry: {_some(bare)}")
    for each in bare:
        backend.link.ask(each, "PEXPIRE", each, HOUR)
    text = f"{len(bare)} without an expiry: they go in an hour"
    return Finding(name=name, ok=True, text=text, fixed=True)


def _runs(backend: RedisBackend, found: dict[str, list[Key]], fix: bool) -> list[Finding]:
    """What is wrong with the keys of runs, some runs a script call."""
    totals = [0, 0, 0, 0, 0]
    for partition in backend.keys.partitions:
        keys: dict[str, list[str]] = {}
        for key in found[partition]:
            if key.run and not key.brief:
                keys.setdefault(key.run, []).append(key.name)
        dates: dict[str, list[str]] = {}
        for member in backend.link.ask(partition, "ZRANGE", f"{partition}:due", 0, -1):
            dates.setdefault(member.decode().split(":")[1], []).append(member.decode())
        listed = _lists(backend, partition, found[partition])
        runs = sorted(keys.keys() | dates.keys() | listed.keys())
        for first in range(0, len(runs), RUNS):
            part = runs[first : first + RUNS]
            args: list[Word] = [backend.lives, int(fix), len(part)]
            for run in part:
                mine, lists, when = keys.get(run, []), listed.get(run, []), dates.get(run, [])
                args += [run, len(mine), *mine, len(lists), *lists, len(when), *when]
            answer = backend.link.run("tidy", partition, args)
            totals = [total + each for total, each in zip(totals, answer, strict=True)]
    leaks, endangered, unlisted, gone, dates_left = totals
    return [
        _told("leaks", leaks, "of runs that have ended or gone would stay for ever", fix),
        _told("endangered", endangered, "of runs on their way would expire", fix),
        _told(
            "run list",
            unlisted,
            "of runs are missing from the list of runs, or under another state",
            fix,
        ),
        _told("orphans", dates_left, "in the schedule are for runs that have gone", fix),
        Finding(
            name="expired runs",
            ok=True,
            text=f"{gone} still in the list of runs" + (": removed" if fix and gone else ""),
            fixed=fix and gone > 0,
        ),
    ]


def _lists(backend: RedisBackend, partition: str, keys: Iterable[Key]) -> dict[str, list[str]]:
    """The flows in whose lists each run is."""
    listed: dict[str, list[str]] = {}
    for flow in _listed_flows(partition, keys):
        for run in backend.link.ask(partition, "ZRANGE", backend.keys.runs(partition, flow), 0, -1):
            listed.setdefault(run.decode(), []).append(flow)
    return listed


def _listed_flows(partition: str, keys: Iterable[Key]) -> list[str]:
    """The flows that have a list of runs."""
    start = f"{partition}:runs:"
    return [key.name.removeprefix(start) for key in keys if key.name.startswith(start)]


def _flows(backend: RedisBackend, found: dict[str, list[Key]], fix: bool) -> Finding:
    """Flows with runs or queues that the list of flows has forgotten: nobody would see their runs."""
    lost = 0
    for partition in backend.keys.partitions:
        known = set(backend.flows(partition))
        there = {name.partition(":")[0] for name in backend.classes(partition)}
        there |= set(_listed_flows(partition, found[partition]))
        lost += len(there - known)
        if fix and there - known:
            backend.link.ask(partition, "SADD", f"{partition}:flows", *sorted(there - known))
    return _told("flow list", lost, "with runs are missing from the list of flows", fix)


def _lost(backend: RedisBackend, found: dict[str, list[Key]], fix: bool) -> Finding:
    """Work of runs on their way that no queue, schedule or list holds any more."""
    lost = 0
    for partition in backend.keys.partitions:
        for key in found[partition]:
            if key.run and key.life == -1 and key.name == f"{partition}:r:{key.run}":
                lost += _lost_of(backend, partition, key.run, fix)
    return _told("lost work", lost, "of runs on their way would never be taken", fix)


def _lost_of(backend: RedisBackend, partition: str, run_id: str, fix: bool) -> int:
    run, _ = backend.read(run_id)
    if run.now.state.terminal:
        return 0
    records = backend.node_lines(run_id)
    paths = [path for path, record in records.items() if record.state in "QRTKO"]
    lost = 0
    for first in range(0, max(1, len(paths)), PATHS):  # without a node there is still the run
        part = paths[first : first + PATHS]
        args: list[Word] = [backend.lives, int(fix), run_id, int(first == 0), len(part), *part]
        lost += backend.link.run("lost", partition, args)
    return lost


def _queues(backend: RedisBackend, found: dict[str, list[Key]], fix: bool) -> Finding:
    """Queues that no worker looks at, since the list of queues has forgotten them."""
    name = "queues"
    lost: list[tuple[str, str]] = []
    for partition in backend.keys.partitions:
        known = set(backend.classes(partition))
        for key in found[partition]:
            letter, _, queue = key.name[len(partition) + 1 :].partition(":")
            if letter in ("q", "b", "p") and not key.run and queue not in known:
                known.add(queue)  # once, whatever is left of it
                lost.append((partition, queue))
    if not lost:
        return Finding(name=name, ok=True, text="every one is in the list of queues")
    told = _some([queue for _, queue in lost])
    if not fix:
        return _leak(name, f"missing from the list of queues: {told}")
    for partition, queue in lost:  # an empty one is then forgotten as any other
        backend.link.ask(partition, "SADD", f"{partition}:classes", queue)
    return Finding(name=name, ok=True, text=f"listed again: {told}", fixed=True)


def _told(name: str, count: int, what: str, fix: bool) -> Finding:
    if not count:
        return Finding(name=name, ok=True, text="none")
    many = "1 entry" if count == 1 else f"{count} entries"
    if fix:
        return Finding(name=name, ok=True, text=f"{many} {what}: put right", fixed=True)
    return _leak(name, f"{many} {what}")


def _leak(name: str, text: str) -> Finding:
    return Finding(name=name, ok=False, text=f"{text}: `goflow doctor --fix` puts it right")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
