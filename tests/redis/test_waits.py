"""Who waits in a program for runs while the server is killed and started again."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

import goflow
from goflow import Client, Payload
from goflow.backend import Ask, WorkerInfo
from goflow.engine import request
from goflow.message import Outcome, Step
from goflow.payload import of_input
from goflow.workflow import build
from goflow_redis import RedisBackend
from goflow_redis.line import Command, Word
from tests.redis.hooks import open_store
from tests.redis.server import RedisServer

FLOW = build("one", lambda workflow, context: workflow.dag.node("a"))
NAMES = ["r0", "r1"]


@pytest.fixture
def store(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisBackend]:
    """A store with two runs on their way. A call is given up at once, so that an outage is a long one."""
    monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0,))
    backend = open_store(own.url, "waits")
    for name in NAMES:
        backend.submit(request(FLOW.plan, name, of_input(b"x")))
    yield backend
    backend.close()


def finish(url: str, made: bytes = b"done") -> None:
    """Execute what is ready, as a worker would."""
    with open_store(url, "waits") as backend:
        me = backend.enter(WorkerInfo(id=0, host="here", pid=1, started=0.0, concurrency=1))
        ask = Ask(worker=me, limit=10, flows=(FLOW.key,))
        now = time.time()
        done = Step(output=Payload(made, "text/plain"), ends=True)
        backend.commit([Outcome(c.task, now, now, step=done) for c in backend.claim(ask)], None)


def one(store: RedisBackend, timeout: float | None) -> Sequence[Payload]:
    return [Client(store).wait("r0", timeout)]


def many(store: RedisBackend, timeout: float | None) -> Sequence[Payload]:
    return Client(store).wait_all(NAMES, timeout)


def twin(store: RedisBackend, timeout: float | None) -> Sequence[Payload]:
    async def wait() -> Payload:
        async with goflow.AsyncClient(store) as client:
            return await client.wait("r0", timeout)

    return [asyncio.run(wait())]


def twin_of_many(store: RedisBackend, timeout: float | None) -> Sequence[Payload]:
    async def wait() -> list[Payload]:
        async with goflow.AsyncClient(store) as client:
            return await client.wait_all(NAMES, timeout)

    return asyncio.run(wait())


Wait = Callable[[RedisBackend, float | None], Sequence[Payload]]
each_wait = pytest.mark.parametrize("wait", [one, many, twin, twin_of_many])


class Trouble(logging.Handler):
    """Sets an event when the log tells of a store that is away."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "trying again" in record.getMessage():
            self.told.set()


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    handler = Trouble()
    logging.getLogger("goflow").addHandler(handler)
    yield handler
    logging.getLogger("goflow").removeHandler(handler)


def listening(server: RedisServer) -> bool:
    return int(server.client.info("clients")["blocked_clients"]) > 0


def until_somebody_listens(server: RedisServer) -> None:
    while not listening(server):
        time.sleep(0.01)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Something happens on another thread while the caller waits for a run; both have ended after this."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def comes_back(own: RedisServer, trouble: Trouble) -> None:
    """The server is started again once somebody has noticed that it is away, and what is ready is executed."""
    assert trouble.told.wait(20)
    own.start()
    finish(own.url)


@each_wait
def test_a_wait_outlasts_a_server_that_is_killed_and_started_again(
    wait: Wait, store: RedisBackend, own: RedisServer, trouble: Trouble
) -> None:
    def interrupt() -> None:
        until_somebody_listens(own)
        own.kill()
        comes_back(own, trouble)

    with meanwhile(interrupt):
        assert {payload.text() for payload in wait(store, 60)} == {"done"}


@each_wait
def test_a_wait_that_begins_while_the_server_is_away_outlasts_that_too(
    wait: Wait, store: RedisBackend, own: RedisServer, trouble: Trouble
) -> None:
    own.kill()
    with meanwhile(partial(comes_back, own, trouble)):
        assert {payload.text() for payload in wait(store, None)} == {"done"}


@each_wait
def test_a_wait_whose_time_is_over_while_the_server_is_away_says_both(
    wait: Wait, store: RedisBackend, own: RedisServer
) -> None:
    own.kill()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no word of .*r.* after 0\.7 s: Redis at .* cannot be"):
        wait(store, 0.7)
    assert 0.65 <= time.monotonic() - began < 10


def test_the_twin_has_what_ended_before_its_time_was_over(
    store: RedisBackend, own: RedisServer
) -> None:
    finish(own.url)
    assert [payload.text() for payload in twin(store, 0)] == ["done"]


def test_the_loop_of_the_twin_sleeps_through_an_outage(
    store: RedisBackend, own: RedisServer, trouble: Trouble
) -> None:
    async def turns(client: goflow.AsyncClient) -> int:
        """How often the loop comes round in half a second of the outage."""
        count = 0
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(client.wait("r0"))
        while not await loop.run_in_executor(None, listening, own):
            await asyncio.sleep(0.01)
        own.kill()
        assert await loop.run_in_executor(None, trouble.told.wait, 20)
        until = loop.time() + 0.5
        select = loop._selector.select  # type: ignore[attr-defined]

        def counting(timeout: float | None) -> object:
            nonlocal count
            count += 1
            return select(timeout)

        loop._selector.select = counting  # type: ignore[attr-defined]
        while loop.time() < until:
            await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return count

    async def main() -> int:
        async with goflow.AsyncClient(store) as client:
            return await turns(client)

    assert asyncio.run(main()) < 100


def calls_of(store: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the store from now on: the name of a script, or a command's."""
    calls: list[str] = []
    run, ask_all = store.link.run, store.link.ask_all

    def counted_run(script: str, partition: str, args: Sequence[Word]) -> object:
        calls.append(script)
        return run(script, partition, args)

    def counted_ask(key: str, commands: Sequence[Command]) -> list[object]:
        calls.extend(str(command[0]) for command in commands)
        return ask_all(key, commands)

    monkeypatch.setattr(store.link, "run", counted_run)
    monkeypatch.setattr(store.link, "ask_all", counted_ask)
    return calls


def ended_meanwhile(
    store: RedisBackend, own: RedisServer, name: str, made: bytes = b"done"
) -> Payload:
    """The result of a run that is submitted, and that ends while somebody waits for it."""
    client = Client(store)
    client.submit("one", b"x", run_id=name, plan=FLOW.plan)

    def end() -> None:
        until_somebody_listens(own)
        finish(own.url, made)

    with meanwhile(end):
        return client.wait(name, 20)


def test_run_after_run_is_waited_for_without_a_call_beside_the_submit(
    store: RedisBackend, own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended_meanwhile(store, own, "s0").text() == "done"
    calls = calls_of(store, monkeypatch)
    for name in ("s1", "s2"):
        assert ended_meanwhile(store, own, name).text() == "done"
    assert calls == ["submit", "submit"]


def test_a_run_that_was_there_is_asked_for_though_the_last_one_was_waited_for(
    store: RedisBackend, own: RedisServer
) -> None:
    assert ended_meanwhile(store, own, "s0").text() == "done"
    with open_store(own.url, "waits") as other:
        other.submit(request(FLOW.plan, "s1", of_input(b"x")))
    assert ended_meanwhile(store, own, "s1").text() == "done"


def test_a_result_that_is_too_large_for_news_is_asked_for(
    store: RedisBackend, own: RedisServer
) -> None:
    made = b"x" * 5000
    assert ended_meanwhile(store, own, "s0", made).data == made
    assert ended_meanwhile(store, own, "s1", made).data == made
