"""Runs of one node go a short way through COMMIT, which writes what the long one does.

Both ways are run over the same steps, each with a store of its own, and whatever these then hold is compared, but for
the times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from goflow.message import Claim, Outcome, Step
from goflow.testing.store import Store, Worker, edge, success
from goflow_redis import RedisBackend, scripts
from tests.redis import zombies
from tests.redis.hooks import RedisHooks, shared_server

Steps = Callable[[Store], object]

#: the first line of both functions of `_lone.lua`, and what sends every run the long way
_LONG = (
    ("if raw[1] ~= QUEUED or", "if true or"),
    ("if not node or", "if true or"),
)
#: the first words of the long way: what is not to be gone through
_ENTRANCE = "  local state, ending, phase, kill, held, rev, seq, acts, round, started, finished, uses = elements(raw[1], 1)\n"


class Hooks(RedisHooks):
    """A store whose COMMIT has a part changed."""

    def __init__(self, commit: scripts.Script) -> None:
        self.commit = commit

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> RedisBackend:
        backend = super().open_backend(folder, ephemeral=ephemeral)
        assert isinstance(backend, RedisBackend)
        backend.link._scripts = {**backend.link._scripts, "commit": self.commit}
        return backend


def changed(monkeypatch: pytest.MonkeyPatch, part: str, *pairs: tuple[str, str]) -> scripts.Script:
    """COMMIT with pieces of text replaced in a part of it."""
    read = scripts._read

    def altered(name: str) -> str:
        text = read(name)
        for old, new in pairs if name == part else ():
            assert text.count(old) == 1, "the script has changed: bring this test along"
            text = text.replace(old, new)
        return text

    modern = int(shared_server().client.info("server")["redis_version"].split(".")[0]) >= 7
    with monkeypatch.context() as patched:
        patched.setattr(scripts, "_read", altered)
        return scripts.assemble("commit", modern)


def told(w: Worker, *made: Outcome) -> bool:
    """Whether a worker's outcomes are accepted; it says who it is, and asks for nothing."""
    return all(w.backend.commit(made, w.ask(0))[0])


def ends(w: Worker, claim: Claim, output: bytes = b"out", log: bytes = b"") -> bool:
    """The same of a node that ends its run."""
    return told(w, success(claim, output, ends=True, log=log))


def succeeds(store: Store) -> None:
    """One run, from its submission to its end."""
    w = store.worker()
    store.submit("r")
    assert ends(w, w.one("a"), b"out")


def makes_nothing(store: Store) -> None:
    """The same without a result."""
    w = store.worker()
    store.submit("r")
    claim = w.one("a")
    assert told(w, Outcome(claim.task, 1.0, 2.0, step=Step(ends=True)))


def is_held(store: Store) -> object:
    """A run that waits for what its node makes, and what is told of it."""
    store.submit("r")
    (claim,) = store.worker().claim()
    return replace(claim, task=replace(claim.task, token="", ready=0.0))


def many_in_one_call(store: Store) -> None:
    """Ends and beginnings in the same calls, told to whoever listens."""
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    w, waker = store.worker(), backend.watch_ends()
    for number in range(20):
        store.submit(f"r{number:02}", payload=b"x" * 10 * number)
    claims = w.claim(5)
    while claims:
        made = [success(claim, b"y" * 300, ends=True) for claim in claims]
        accepted, claims = backend.commit(made, w.ask(5))
        assert all(accepted)
    waker.close()


def goes_on(store: Store) -> None:
    """The first node of several is taken the short way, and what follows goes the long one."""
    w = store.worker()
    store.submit("r")
    assert w.succeed(w.one("a"), b"A", edge("a", "b"))
    assert w.succeed(w.one("b"), b"B", ends=True)


def has_a_handler(store: Store) -> None:
    """A run whose `finally` comes after its node."""
    w = store.worker()
    store.submit("r", handlers=("~finally",))
    assert ends(w, w.one("a"), b"A")
    assert w.succeed(w.one("~finally"))


def has_a_timeout(store: Store) -> None:
    """A run that would be ended by a clock."""
    w = store.worker()
    store.submit("r", timeout=60.0)
    assert ends(w, w.one("a"), b"A")


def is_held_with_a_timeout(store: Store) -> object:
    """The same until it is taken."""
    store.submit("r", timeout=60.0)
    return len(store.worker().claim())


def is_watched(store: Store) -> None:
    """Somebody waits for its end."""
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    w = store.worker()
    store.submit("r")
    waker = backend.watch_end("r")
    assert ends(w, w.one("a"), b"A")
    waker.close()


def is_watched_from_the_start(store: Store) -> None:
    """Somebody hears of each change of it."""
    w = store.worker()
    store.submit("r")
    waker = store.backend.watch("r")
    assert ends(w, w.one("a"), b"A")
    waker.close()


def is_traced(store: Store) -> None:
    """Runs that are to be told as traces, by who takes them or by who ends them."""
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    backend.traced = True
    w = store.worker()
    store.submit("r")
    assert ends(w, w.one("a"), b"A")
    store.submit("s")
    claim = w.one("a")
    backend.traced = False
    assert ends(w, claim, b"A")
    store.submit("t")
    claim = w.one("a")
    backend.traced = True
    assert ends(w, claim, b"A")


def is_repeated(store: Store) -> None:
    """An outcome that is told twice, in one call and in the next."""
    w = store.worker()
    store.submit("r")
    made = success(w.one("a"), b"A", ends=True)
    assert w.backend.commit([made, made])[0] == [True, True]
    assert w.backend.commit([made])[0] == [True]


def was_lost(store: Store) -> None:
    """A node whose first worker has vanished; what that one made is refused."""
    w, zombie = store.worker(), store.worker(own=True)
    store.submit("r")
    late = success(zombie.one("a"), b"late", ends=True)
    store.vanish(zombie)
    store.tick()
    claim = w.one("a")
    assert zombie.backend.commit([late])[0] == [False]
    assert ends(w, claim, b"A")


def prints(store: Store) -> None:
    """A node that leaves a log."""
    w = store.worker()
    store.submit("r")
    assert ends(w, w.one("a"), b"A", log=b"hello\n")


def was_paused(store: Store) -> None:
    """A run that is paused and goes on before its node is taken, and again while it runs."""
    w = store.worker()
    store.submit("r")
    store.backend.control("r", "pause")
    assert w.claim() == []
    store.backend.control("r", "resume")
    claim = w.one("a")
    store.backend.control("r", "pause")
    store.backend.control("r", "resume")
    assert ends(w, claim, b"A")


def holds(store: Store) -> dict[str, object]:
    """Every key with what it holds, and whether it will go; without times and ids that nobody chose."""
    backend = store.backend
    assert isinstance(backend, RedisBackend)
    client: Any = shared_server().client
    found: dict[str, object] = {}
    for key in client.keys(f"gf:{{{backend.keys.namespace}*"):
        name = key.decode().replace(backend.keys.namespace, "N")
        kind = client.type(key).decode()
        if re.search(r"\}:(workers|alive|meta|w:.*|b:.*)$", name):
            continue  # times, and letters of chance
        if kind == "hash":
            held: object = {f.decode(): plain(v) for f, v in client.hgetall(key).items()}
            if name.endswith(":figures"):
                held = _counted(client.hgetall(key))
        elif kind == "stream":
            held = [[plain(v) for v in fields.values()] for _, fields in client.xrange(key)]
        elif kind == "zset":
            held = [
                (member, score // 2**50)
                for member, score in client.zrange(key, 0, -1, withscores=True)
            ]
        elif kind == "list":
            held = len(client.lrange(key, 0, -1))
        else:
            held = kind
        found[name] = held, client.ttl(key) > 0
    return found


def _counted(figures: Mapping[bytes, bytes]) -> dict[str, int]:
    """Figures of a partition without how long runs took."""
    found: dict[str, int] = {}
    for name, number in figures.items():
        figure = re.sub(r" \d+$", "", name.decode())
        if not figure.endswith("run:ms"):
            found[figure] = found.get(figure, 0) + int(number)
    return found


def plain(value: bytes) -> object:
    """A record without its times and holds; anything else as it is."""
    if re.fullmatch(rb"\d{13}(\.5)?", value):
        return "date"
    if value[:1] not in (b"\x95", b"\x9c", b"\xdc"):
        return value
    record = msgspec.msgpack.decode(value)
    states = [place for place, each in enumerate(record) if each in [*"WQKRTODFC"]]
    times = range(states[0] + 5, states[0] + 8) if states else ()  # of a node
    return [_timeless(each, place in times) for place, each in enumerate(record)]


def _timeless(value: object, time: bool) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and (time or value > 1_000_000):
        return "date"
    if isinstance(value, str) and re.match(r"\d{13}-\d+", value):
        return "hold"
    return value


STEPS = (
    succeeds,
    makes_nothing,
    is_held,
    many_in_one_call,
    goes_on,
    has_a_handler,
    has_a_timeout,
    is_held_with_a_timeout,
    is_watched,
    is_watched_from_the_start,
    is_traced,
    is_repeated,
    was_lost,
    prints,
    was_paused,
)


def after(folder: Path, commit: scripts.Script, steps: Steps) -> dict[str, object]:
    """What a new store holds after these steps."""
    folder.mkdir()
    store = Store(Hooks(commit), folder)
    try:
        return {"": steps(store), **holds(store)}
    finally:
        store.close()


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: steps.__name__)
def test_the_short_way_writes_what_the_long_one_does(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = after(tmp_path / "short", changed(monkeypatch, "_lone"), steps)
    assert short == after(tmp_path / "long", changed(monkeypatch, "_lone", *_LONG), steps)


@pytest.mark.parametrize(
    "steps", [succeeds, makes_nothing, is_held, many_in_one_call], ids=lambda steps: steps.__name__
)
def test_runs_of_one_node_go_the_short_way(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long one is closed."""
    closed = changed(monkeypatch, "_records", (_ENTRANCE, f"  error('the long way')\n{_ENTRANCE}"))
    after(tmp_path / "store", closed, steps)


def is_haunted(store: Store) -> None:
    """A claim that a failover lost, and its outcome that comes late."""
    zombies.its_outcome_is_refused(store)


#: what is asked of a run that may go the short way, and the steps that tell when that is not asked
ASKED = (
    ("raw[1] ~= QUEUED or ", "", was_paused),
    (
        "if raw[4] and raw[4] ~= '0' and not string",
        "if false and not string",
        is_watched_from_the_start,
    ),
    ("or TRACED or raw[5]", "or raw[5]", is_traced),
    ("  if timeout > 0 then return end\n", "", is_held_with_a_timeout),
    ("if raw[4] and raw[4] ~= '0' and tonumber(raw[4]) > NOW then", "if false then", is_watched),
    ("or TRACED or string", "or string", is_traced),
    ("timeout > 0 or handlers", "handlers", has_a_timeout),
    ("timeout > 0 or handlers ~= '-'", "timeout > 0", has_a_handler),
    ("string.sub(node, 1, #before) ~= before or ", "", is_haunted),
)


@pytest.mark.parametrize(("text", "instead", "steps"), ASKED)
def test_what_is_more_than_one_node_goes_the_long_way(
    text: str, instead: str, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = after(tmp_path / "real", changed(monkeypatch, "_lone"), steps)
    mutant = changed(monkeypatch, "_lone", (text, instead))
    try:
        found = after(tmp_path / "mutant", mutant, steps)
    except AssertionError:
        return
    assert found != expected
