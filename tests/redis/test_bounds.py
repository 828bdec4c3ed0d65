"""No script call holds up the server: what is wide is done in pieces, each of so many commands at most."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from goflow.backend import Retry
from goflow.errors import UnknownRun
from goflow.message import Claim, Item, Opened, Step
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import Store, Worker, edge, outcome, scopes, success
from goflow_redis import RedisBackend
from tests.redis import wide
from tests.redis.hooks import RedisHooks, open_store, shared_server
from tests.redis.server import RedisServer

#: commands that a script call may come to, whatever it is about: some 2 ms of a Redis core, where a wide one without
#: pieces comes to thousands
MOST = 400
#: the same for values that one command of it writes
ITEMS = 1000
WIDTH = 2000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store on the server of this process."""
    opened = Store(RedisHooks(), tmp_path)
    yield opened
    opened.close()


def commands() -> int:
    """How many the server has executed, in scripts and outside."""
    told = shared_server().client.info("commandstats")
    return sum(each["calls"] for each in told.values())


@pytest.fixture
def heaviest(store: Store) -> Iterator[dict[str, int]]:
    """By script, the commands of the call that came to most of them so far; checked at the end."""
    backend, found = store.backend, dict[str, int]()
    assert isinstance(backend, RedisBackend)
    link = backend.link

    def metered(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(script: str, partition: str, args: Sequence[Any]) -> Any:
            before = commands()
            answer = real(script, partition, args)
            found[script] = max(
                found.get(script, 0), commands() - before - 2
            )  # without itself and INFO
            return answer

        return run

    for name in ("run", "run_once"):
        setattr(link, name, metered(getattr(link, name)))
    yield found
    assert found
    assert {script: count for script, count in found.items() if count > MOST} == {}


CHECKS = [
    check
    for _, check in inspect.getmembers(wide, inspect.isfunction)
    if check.__module__ == wide.__name__
    and inspect.signature(check).return_annotation == "None"
    and [*inspect.signature(check).parameters] == ["store"]
    and check is not wide.promote
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_done_in_pieces_is_done(check: Callable[[Store], None], store: Store) -> None:
    check(store)


def names() -> list[str]:
    return wide.names(WIDTH)


def drain(w: Worker, end: Callable[[Claim], object] = lambda claim: None) -> int:
    """Claim as a worker does until nothing is left; how many tasks there were."""
    count = 0
    while claims := w.claim(32):
        count += len(claims)
        for claim in claims:
            end(claim)
    return count


def test_a_run_with_very_many_starts(store: Store, heaviest: dict[str, int]) -> None:
    w = store.worker()
    store.submit("r", *names())
    store.submit("r", *names())
    assert drain(w) == WIDTH
    store.vanish(w)
    store.tick()
    store.backend.control("r", "pause")
    assert drain(w) == 0
    store.backend.control("r", "resume")
    w.claim(5)
    store.backend.control("r", "stop")
    assert drain(w) == 0
    assert heaviest["submit"] < 100


def test_a_node_that_sends_to_very_many(store: Store, heaviest: dict[str, int]) -> None:
    w = store.worker()
    store.submit("r")
    assert w.succeed(w.one("a"), b"A", *(edge("a", name) for name in names()))
    assert drain(w) == WIDTH


@pytest.mark.parametrize("starts", [1, 50, 500])
def test_a_branch_of_very_many_scopes_or_starts(
    store: Store, heaviest: dict[str, int], starts: int
) -> None:
    w = store.worker()
    store.submit("r", "each")
    inner = tuple(f"x{number}" for number in range(starts))
    items = tuple(
        Item(f"each[{key}]/", inner, Payload(b"x")) for key in range(max(3, WIDTH // starts))
    )
    step = Step(opened=Opened(len(items), 0, None, items))
    assert w.commit(outcome(w.one("each"), step=step))
    assert drain(w) == len(items) * starts


def test_very_many_open_branches(store: Store, heaviest: dict[str, int]) -> None:
    w = store.worker()
    store.submit("r", *names())
    for claim in w.claim(WIDTH):
        assert w.open(claim, scopes(claim.task.path, "ab"), expects=2, window=1)
    store.backend.control("r", "pause")
    store.backend.control("r", "resume")
    store.tick()
    held = w.claim(32)
    store.backend.control("r", "stop")
    for claim in held:
        assert w.killed(claim)
    assert store.state() is RunState.STOPPED
    assert drain(w) == 0  # past all that waited for demand
    store.tick()
    store.backend.retry("r", Retry())
    store.tick()
    store.backend.control("r", "stop")
    store.tick()
    store.backend.forget("r")
    with pytest.raises(UnknownRun):
        store.run()


def test_a_server_that_was_started_anew_comes_by_every_branch(tmp_path: Path) -> None:
    """It has its sets in another order, in which what was gone through before means nothing."""
    with RedisServer("--appendonly", "yes") as server:

        class OnIt(RedisHooks):
            def open_backend(self, folder: Path, *, ephemeral: bool = False) -> RedisBackend:
                return open_store(server.url, "anew", ephemeral=ephemeral)

        store = Store(OnIt(), tmp_path)
        wide.stopped(store, WIDTH)
        for _ in range(WIDTH // 200):
            wide.promote(store)
        lists = [f"s:{name}" for name in names()]
        assert -1 in wide.lives(store, lists)
        server.kill()
        server.start()
        store.tick()
        assert all(life > 0 for life in wide.lives(store, [*lists, "x"]))
        store.close()


def test_very_many_tasks_of_very_many_runs(store: Store, heaviest: dict[str, int]) -> None:
    w, backend = store.worker(), store.backend
    assert isinstance(backend, RedisBackend)
    for number in range(300):
        store.submit(f"r{number}", timeout=3600.0)
    assert sum(backend.waiting().values()) == 300
    claims = w.claim(300)
    assert w.lost(*claims) == []
    assert len(backend.held()) == 300
    partition = backend.keys.partitions[0]
    backend.link.ask(partition, "DEL", f"{partition}:due")
    backend.link.ask(
        partition, "ZADD", f"{partition}:due", *(x for n in range(300) for x in (1, f"t:r{n}"))
    )
    store.tick()
    assert all(backend.commit([success(c) for c in claims])[0])
    store.tick()
    assert len(backend.runs(limit=1000)) == 300
