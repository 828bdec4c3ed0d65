"""Whatever a node does, it is one failure with a bounded reason; the worker and the next node live."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from goflow.message import DIED, TIMED_OUT, Claim
from goflow.process import Child
from goflow.wire import Wire
from goflow.workflow import build
from tests.worker.bench import Acting, Bench, Watching, note, trace, until_vanished

Work = Callable[[bytes], object]
Case = tuple[Work, str, str]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Unrepresentable:
    def __repr__(self) -> str:
        raise RuntimeError("nor this")


def raising(error: BaseException) -> Work:
    def work(data: bytes) -> object:
        raise error

    return work


def returning(make: Callable[[], object]) -> Work:
    return lambda data: make()


def doing(*steps: Callable[[], object]) -> Work:
    def work(data: bytes) -> object:
        for step in steps:
            step()
        return b"done"

    return work


def loop() -> Any:
    endless: list[object] = []
    endless.append(endless)
    return endless


def recurse() -> Any:
    return recurse()


def segfault() -> None:
    ctypes.string_at(0)


def close_everything() -> None:
    os.closerange(0, 65536)


def scribble(data: bytes) -> None:
    """Only into connections to supervisors: other descriptors may be those of whoever runs the tests."""
    for wire in [each for each in gc.get_objects() if isinstance(each, Wire)]:
        with suppress(OSError):  # one that the supervisor had closed before it forked
            if stat.S_ISSOCK(os.fstat(wire._file).st_mode):
                os.write(wire._file, data)


def scribble_words() -> None:
    scribble(b"whatever comes to mind" * 10)


def scribble_a_message() -> None:
    """A whole frame, of which the content is not UTF-8 where text is expected."""
    scribble((6).to_bytes(8, "big") + b"\x92\xa4\xff\xff\xff\xff")


def sleep() -> None:
    time.sleep(600)


def fork_and_go_on() -> None:
    os.fork()


def kill_self(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def long_name() -> BaseException:
    error: BaseException = type("E" * 100_000, (Exception,), {})("x")
    return error


FAILURES: dict[str, Case] = {
    "raises": (raising(ValueError("no luck")), "ValueError", "no luck"),
    "raises nothing to say": (raising(ValueError()), "ValueError", ""),
    "raises an unprintable": (raising(Unprintable()), "Unprintable", "cannot be printed"),
    "raises 10 MB": (raising(ValueError("x" * 10_000_000)), "ValueError", "10000000 characters"),
    "raises a long name": (raising(long_name()), "EEEE", "x"),
    "raises half a letter": (raising(ValueError("odd \ud800 text")), "ValueError", "odd"),
    "raises a group": (
        raising(ExceptionGroup("several", [ValueError("a")])),
        "ExceptionGroup",
        "several",
    ),
    "raises an interrupt": (raising(KeyboardInterrupt()), "KeyboardInterrupt", ""),
    "raises an exit": (raising(GeneratorExit()), "GeneratorExit", ""),
    "exits": (doing(lambda: sys.exit(3)), "SystemExit", "sys.exit(3)"),
    "exits with text": (doing(lambda: sys.exit("bye")), "SystemExit", "sys.exit('bye')"),
    "exits unrepresentably": (doing(lambda: sys.exit(Unrepresentable())), "SystemExit", "sys.exit"),  # type: ignore[arg-type]
    "recurses": (doing(recurse), "RecursionError", "recursion"),
    "returns an object": (returning(object), "PayloadError", "cannot encode object"),
    "returns a function": (returning(lambda: sleep), "PayloadError", "cannot encode function"),
    "returns a generator": (returning(lambda: (x for x in "ab")), "PayloadError", "generator"),
    "returns not a number": (returning(lambda: float("nan")), "PayloadError", "cannot encode"),
    "returns itself": (returning(loop), "PayloadError", "cannot encode list"),
    "returns half a letter": (returning(lambda: "\ud800"), "PayloadError", "UTF-8"),
    "exits the process": (doing(lambda: os._exit(7)), DIED, "exited with code 7"),
    "exits the process well": (doing(lambda: os._exit(0)), DIED, "ended"),
    "segfaults": (doing(faulthandler.disable, segfault), DIED, "SIGSEGV"),
    "aborts": (doing(faulthandler.disable, os.abort), DIED, "SIGABRT"),
    "is killed": (doing(kill_self(signal.SIGKILL), sleep), DIED, "SIGKILL"),
    "is terminated": (doing(kill_self(signal.SIGTERM), sleep), DIED, "SIGTERM"),
    "dies of a real-time signal": (doing(kill_self(40), sleep), DIED, "40"),
    "writes to every socket": (doing(scribble_words), DIED, "wrote into its connection"),
    "writes what looks like a message": (
        doing(scribble_a_message),
        DIED,
        "wrote into its connection",
    ),
    "closes everything": (doing(close_everything), DIED, "closed its connection"),
    "closes everything and stays": (
        doing(close_everything, sleep),
        DIED,
        "closed its connection",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_one_failure_with_a_bounded_reason(name: str, bench: Bench) -> None:
    work, kind, words = FAILURES[name]

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("bad", work)

    bad, good = build("bad", define), build("good", _echo)
    runs = [bench.submit(bad, b""), bench.submit(good, b"fine"), bench.submit(good, b"too")]
    failed, first, second = bench.work([bad, good], *runs, concurrency=1)
    assert failed.state == "failed"
    assert failed.failure is not None
    assert failed.failure.type.startswith(kind)
    assert words in failed.failure.message
    assert failed.failure.node == "bad"
    assert len(failed.error or "") < 4000
    assert len(failed.failure.detail) < 9000
    assert [a.state for a in bench.store.attempts(failed.id)] == ["failed"]
    assert (bench.result(first).data, bench.result(second).data) == (b"fine", b"too")


def _echo(workflow: Any, context: Any) -> None:
    workflow.dag.node("echo", lambda data: data)


HARMLESS: dict[str, Work] = {
    "closes its output": doing(lambda: os.close(1), lambda: os.close(2)),
    "closes the streams": doing(sys.stdout.close, sys.stderr.close),
    "closes stdout the object": doing(lambda: sys.stdout.close()),
    "replaces stdout": doing(lambda: setattr(sys, "stdout", None)),
    "redirects its output": doing(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 1)),
    "closes its input": doing(lambda: os.close(0)),
    "changes directory": doing(lambda: os.chdir("/")),
    "removes its directory": doing(
        lambda: os.chdir(tempfile.mkdtemp()),
        lambda: Path.cwd().rmdir(),
    ),
    "forks and goes on": doing(fork_and_go_on),
    "ignores signals": doing(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)),
    "leaves a thread": doing(lambda: threading.Thread(target=sleep, daemon=True).start()),
    "leaves a stubborn thread": doing(lambda: threading.Thread(target=sleep).start()),
    "leaves a process": doing(lambda: subprocess.Popen(["sleep", "600"])),
    "turns collection off": doing(__import__("gc").disable),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_node_does_to_its_process_does_not_reach_the_next(name: str, bench: Bench) -> None:
    work = HARMLESS[name]

    def bad(workflow: Any, context: Any) -> None:
        workflow.dag.node("bad", work)

    def good(workflow: Any, context: Any) -> None:
        def tell(data: bytes) -> str:
            print("to stdout")
            print("to stderr", file=sys.stderr)
            os.write(1, b"to one\n")
            return os.getcwd()

        workflow.dag.node("tell", tell)

    flows = [build("bad", bad), build("good", good)]
    runs = [bench.submit(flows[0]), bench.submit(flows[1]), bench.submit(flows[1])]
    first, *rest = bench.work(flows, *runs, concurrency=1)
    assert first.state == "succeeded", first.error
    assert bench.result(first).data == b"done"
    for run in rest:
        assert bench.result(run).text() == os.getcwd()
        assert bench.log(run) == b"to stdout\nto stderr\nto one\n"


def test_reading_stdin_finds_its_end(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("read", lambda data: os.read(0, 10))

    assert bench.result(bench.execute(define)).data == b""


def test_a_flood_is_kept_up_to_a_limit_and_does_not_reach_the_next(bench: Bench) -> None:
    def flood(data: bytes) -> None:
        for _ in range(1000):
            os.write(1, b"x" * 20_000)

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.node("flood", flood) >> dag.node("next", lambda data: print("dry"))

    run = bench.execute(define, log_limit=100_000, concurrency=1)
    kept = bench.log(run, "flood")
    assert kept.startswith(b"x" * 100_000)
    assert kept.endswith(b"... 19900000 more bytes were not kept\n")
    assert len(kept) < 100_100
    assert bench.log(run, "next") == b"dry\n"


def test_a_daemon_that_floods_for_ever_holds_nobody_up(bench: Bench) -> None:
    """It left the group, so it outlives its node, and even the child it inherited its output from."""

    def spawn(data: bytes) -> str:
        return str(subprocess.Popen(["yes"], start_new_session=True).pid)

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.node("spawn", spawn) >> dag.node("next", lambda data: data)
        dag.node("die", lambda data: os._exit(1), on_failure=lambda error: b"")
        dag.edge("next", "die", forwarder=lambda data: data)
        dag.node("end", lambda data, options, context: context.node_input["next"])
        dag.edge("next", "end")
        dag.edge("die", "end", execution_only=True)

    run = bench.execute(define, concurrency=1, log_limit=1000)
    assert run.state == "succeeded", run.error
    assert len(bench.log(run)) < 10_000
    until_vanished([int(bench.result(run).data)])


def test_output_is_attributed_to_its_node_even_in_batches(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: list(range(400)))

        def work(data: int) -> int:
            print("I am", context.node)
            if data % 7 == 0:
                os.write(1, b"no newline at the end")
            return data

        each.node("work", work)

    seen = Watching()
    run = bench.execute(define, concurrency=1, observer=seen)
    assert bench.result(run).json() == list(range(400))
    for number in range(400):
        path = f"each[{number}]/work"
        tail = b"no newline at the end" if number % 7 == 0 else b""
        assert bench.log(run, path) == f"I am {path}\n".encode() + tail
    assert b"".join(seen.echoed.values()).count(b"I am") == 400


def test_a_batch_that_dies_loses_only_the_task_at_hand(bench: Bench) -> None:
    """Small tasks travel together; the one that kills the process is blamed, the others run again."""

    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: list(range(300)))

        def work(data: int) -> int:
            if data % 100 == 50:
                os._exit(9)
            return data

        each.node("work", work, on_failure=lambda error: str(error.type).encode())

    run = bench.execute(define, concurrency=1)
    expected = [DIED if n % 100 == 50 else n for n in range(300)]
    assert bench.result(run).json() == expected
    failed = [a.path for a in bench.store.attempts(run.id) if a.error and DIED in a.error]
    assert sorted(failed) == sorted(f"each[{n}]/work" for n in (50, 150, 250))


def test_a_timeout_kills_the_whole_process_group(bench: Bench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def hang(data: bytes) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        helper = subprocess.Popen(["sleep", "600"])
        pids.write_text(f"{os.getpid()} {helper.pid}")
        while True:
            pass

    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("hang", hang, timeout=0.3)

    run = bench.execute(define)
    assert run.state == "failed"
    assert run.failure is not None
    assert (run.failure.type, run.failure.message) == (TIMED_OUT, "timed out after 0.3 s")
    until_vanished([int(pid) for pid in pids.read_text().split()])


def test_a_frozen_node_is_killed_at_its_timeout(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("freeze", doing(kill_self(signal.SIGSTOP), sleep), timeout=0.2)

    run = bench.execute(define)
    assert run.failure is not None
    assert run.failure.type == TIMED_OUT


def signal_before(monkeypatch: pytest.MonkeyPatch, node: str, number: signal.Signals) -> list[int]:
    """Send this to the process that is about to be handed the node, the first time; answers where its pid will be."""
    sent: list[int] = []
    take = Child.take

    def taking(child: Child, claims: Sequence[Claim], now: float) -> None:
        if claims[0].task.path == node and not sent:
            sent.append(child.pid)
            os.kill(child.pid, number)
        take(child, claims, now)

    monkeypatch.setattr(Child, "take", taking)
    return sent


class Thawing(Acting):
    """Lets a frozen process go on once the worker's loop has turned a few times without it."""

    def __init__(self, frozen: list[int]) -> None:
        super().__init__(self._turn)
        self.frozen = frozen
        self.turns = 0

    def _turn(self) -> None:
        if self.frozen:
            self.turns += 1
            if self.turns == 5:
                os.kill(self.frozen[0], signal.SIGCONT)


def test_a_process_that_is_frozen_before_it_reads_keeps_its_worker_from_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Thawing(signal_before(monkeypatch, "next", signal.SIGSTOP))

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.node("first", lambda data: data) >> dag.node("next", lambda data: data[::-1])

    data = b"a" + b"b" * 3_000_000
    run = bench.execute(define, data, observer=watching, concurrency=1)
    assert run.state == "succeeded", run.error
    assert bench.result(run).data == data[::-1]
    assert watching.turns >= 5
    assert watching.started_paths == ["first", "next"]


def test_a_process_that_is_frozen_while_it_answers_keeps_its_worker_from_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    class Noticing(Thawing):
        def _turn(self) -> None:
            self.frozen = self.frozen or [int(pid) for pid in trace(tmp_path)]
            super()._turn()

    def define(workflow: Any, context: Any) -> None:
        def large(data: bytes) -> bytes:
            freeze_when_answering(tmp_path)
            return b"x" * 3_000_000

        workflow.dag.node("large", large)

    watching = Noticing([])
    run = bench.execute(define, observer=watching, concurrency=1)
    assert run.state == "succeeded", run.error
    assert len(bench.result(run).data) == 3_000_000
    assert watching.turns >= 5


def freeze_when_answering(folder: Path) -> None:
    """Stop this process once it has said some of a large result."""
    writev = os.writev

    def write_some(file: int, buffers: tuple[bytes, bytes]) -> int:
        os.writev = writev
        length, message = buffers
        sent = os.write(file, length + message[:100_000])
        note(folder, str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
        return sent

    os.writev = write_some  # type: ignore[assignment]


def test_what_looks_like_the_beginning_of_an_answer_keeps_a_worker_from_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    """A node that writes into its connection fails alone, and its worker does not wait for the rest."""

    def define(workflow: Any, context: Any) -> None:
        def writes(data: bytes) -> None:
            scribble(b"\0\0")
            until = time.monotonic() + 20
            while not trace(tmp_path) and time.monotonic() < until:
                time.sleep(0.01)

        def other(data: bytes) -> None:
            time.sleep(0.1)  # the first one has begun by now

        workflow.dag.node("writes", writes)
        (
            workflow.dag.node("other", other)
            >> workflow.dag.node("next", lambda data: note(tmp_path, "next"))
        )

    run = bench.execute(define, concurrency=2)
    assert run.failure is not None
    assert (run.failure.type, run.failure.node) == (DIED, "writes")
    assert trace(tmp_path) == ["next"]


def test_a_node_is_not_blamed_for_a_process_that_died_before_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an earlier node left in the process may kill it just when the next task is on its way."""

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.node("first", lambda data: b"1") >> dag.node("next", lambda data: data + b"2")

    for _ in range(5):
        watching = Watching()
        with monkeypatch.context() as patch:
            killed = signal_before(patch, "next", signal.SIGKILL)
            run = bench.execute(define, observer=watching, concurrency=1)
        assert killed
        assert run.state == "succeeded", run.error
        assert watching.started_paths == ["first", "next", "next"]
        assert [a.state for a in bench.store.attempts(run.id)] == ["succeeded"] * 2


def test_an_input_that_no_process_survives_reading_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is larger than the memory there is: nothing of the node was executed."""

    def die(loop: Any) -> Any:
        loop._wire._connection.poll(None)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("goflow.child._Loop._receive", die)
    watching = Watching()
    run = bench.execute(lambda w, c: w.dag.node("n"), observer=watching, concurrency=1)
    assert run.failure is not None
    assert run.failure.type == DIED
    assert run.failure.message == (
        "its process was killed by SIGKILL (out of memory?), the 3 processes that were to read its"
        " input all died of it"
    )
    assert watching.started_paths == ["n"] * 3


def test_a_wide_branch_is_opened_though_its_process_dies_right_after(
    bench: Bench, tmp_path: Path
) -> None:
    """The scopes it staged and its result were on their way already, and nobody had read them."""

    class Late(Acting):
        """Looks the other way until the process is gone."""

        def _turn(self) -> None:
            until = time.monotonic() + 20
            while self.started_paths == ["each"] and time.monotonic() < until:
                if died := trace(tmp_path):
                    return until_vanished([int(died[0])])
                time.sleep(0.001)

        def __init__(self) -> None:
            super().__init__(self._turn)

    def define(workflow: Any, context: Any) -> None:
        def choose(data: bytes) -> list[int]:
            if context.attempt == 1 and context.node == "each":
                threading.Thread(target=die_when_answered, args=(tmp_path,), daemon=True).start()
            return list(range(2000))

        each = workflow.dag.foreach_branch("each", choose)
        each.node("work", lambda data: data)

    run = bench.execute(define, observer=Late(), concurrency=1)
    assert run.state == "succeeded", run.error
    assert bench.result(run).json() == [str(n) for n in range(2000)]
    attempts = [a for a in bench.store.attempts(run.id) if a.path == "each"]
    assert [(a.attempt, a.state) for a in attempts] == [(1, "succeeded")]
    assert len(trace(tmp_path)) == 1


def die_when_answered(folder: Path) -> None:
    """End the process as soon as its main thread waits for the next batch."""
    main = threading.main_thread().ident
    assert main is not None
    while Wire.receive.__code__ not in calls_of(sys._current_frames()[main]):
        time.sleep(0)
    note(folder, str(os.getpid()))
    os._exit(1)


def calls_of(frame: FrameType | None) -> Iterator[CodeType]:
    """What a thread is executing, the innermost first."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
