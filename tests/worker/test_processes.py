"""Children as processes: how they are started, what they inherit, and that they die with their worker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from goflow.errors import GoflowError
from goflow.loader import load
from goflow.message import DIED
from goflow.workflow import build
from tests.worker.bench import PATIENCE, Bench, Watching, until_vanished

METHODS = ("fork", "forkserver", "spawn")

FILE = """
import os
import sys
import time
from pathlib import Path

LOADED_BY = os.getpid()
if "slow" in os.environ.get("LOADING", ""):
    time.sleep(0.6)


def tell(data: str) -> dict[str, object]:
    print("said in", data)
    return {"data": data, "loaded_here": LOADED_BY == os.getpid(), "in": os.getcwd()}


def define_workflow(workflow, context):
    workflow.dag.node("tell", tell, timeout=0.5)
"""


@pytest.mark.parametrize("method", METHODS)
def test_every_start_method_runs_flows_from_files(
    bench: Bench, tmp_path: Path, method: str
) -> None:
    (tmp_path / "told.py").write_text(FILE)
    [flow] = load(tmp_path / "told.py").values()
    run = bench.submit(flow, "x")
    [ended] = bench.work([flow], run, start_method=method)
    assert ended.state == "succeeded", ended.error
    assert bench.result(ended).json() == {
        "data": "x",
        "loaded_here": method != "fork",
        "in": os.getcwd(),
    }
    assert bench.log(ended) == b"said in x\n"


def test_a_timeout_does_not_count_the_loading_of_the_flow(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text(FILE)
    [flow] = load(tmp_path / "slow.py").values()
    monkeypatch.setenv("LOADING", "slow")
    run = bench.submit(flow, "x")
    [ended] = bench.work([flow], run, start_method="spawn")
    assert ended.state == "succeeded", ended.error


class Opening(Watching):
    """Opens a gate when the worker's loop turns while a task is on its way."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self._gate = gate

    def pulse(self) -> float | None:
        if self.started_paths:
            self._gate.touch()
        return 0.02


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_worker_goes_on_while_a_child_loads_whatever_it_has_for_it(
    bench: Bench, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child loads its flow only once the loop has turned; the input fills any socket's buffer."""
    gate = tmp_path / "gate"
    (tmp_path / "gated.py").write_text(
        "import os, time\nfrom pathlib import Path\nend = time.monotonic() + 20\n"
        "while 'GATE' in os.environ and not Path(os.environ['GATE']).exists():\n"
        "    assert time.monotonic() < end, 'the worker waits for us'\n    time.sleep(0.01)\n"
        "def define_workflow(w, c):\n    w.dag.node('n', lambda data: str(len(data)))\n"
    )
    [flow] = load(tmp_path / "gated.py").values()
    monkeypatch.setenv("GATE", str(gate))
    run = bench.submit(flow, b"x" * 4_000_000)
    [ended] = bench.work([flow], run, start_method=method, observer=Opening(gate))
    assert ended.state == "succeeded", ended.error
    assert bench.result(ended).text() == "4000000"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_lies_beside_a_flow_is_the_flows_alone(
    bench: Bench, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("goflow", "msgspec", "pickle"):
        (tmp_path / f"{name}.py").write_text("1 / 0")
    (tmp_path / "beside.py").write_text(FILE)
    [flow] = load(tmp_path / "beside.py").values()
    [ended] = bench.work([flow], bench.submit(flow, "x"), start_method=method)
    assert ended.state == "succeeded", ended.error
    assert sys.path[0] == str(tmp_path)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_flow_that_children_cannot_load_is_a_failure(
    bench: Bench, tmp_path: Path, method: str
) -> None:
    (tmp_path / "fading.py").write_text(FILE)
    [flow] = load(tmp_path / "fading.py").values()
    (tmp_path / "fading.py").unlink()
    run = bench.submit(flow, "x")
    [ended] = bench.work([flow], run, start_method=method)
    assert ended.failure is not None
    assert ended.failure.type == DIED
    assert b"fading.py" in bench.log(ended)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_flow_that_hangs_while_a_child_loads_it_is_a_failure_that_says_so(
    bench: Bench, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stuck.py").write_text(FILE)
    [flow] = load(tmp_path / "stuck.py").values()
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setattr("goflow.process.LOADING", 1.0)
    run = bench.submit(flow, "x")
    [ended] = bench.work([flow], run, start_method=method)
    assert ended.error == (
        "tell: TimedOut: its process did not load the flow 'stuck' within 1 s;"
        " what does its file do at import?"
    )


@pytest.mark.parametrize("method", METHODS)
def test_definitions_without_a_file_reach_children(bench: Bench, method: str) -> None:
    """As in a notebook: functions, closures and classes that no module holds."""

    class Scale:
        factor = 3

    def define(workflow: Any, context: Any) -> None:
        def work(data: int) -> int:
            context.set("seen", data)
            return data * Scale.factor

        workflow.dag.node("a", work) >> workflow.dag.node(
            "b", lambda data: [int(data), context.get("seen")]
        )

    flow = build("flow", define)
    run = bench.submit(flow, 7)
    [ended] = bench.work([flow], run, start_method=method)
    assert ended.state == "succeeded", ended.error
    assert bench.result(ended).json() == [21, 7]


def test_a_definition_that_cannot_travel_is_one_message(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("a", lambda data: str(bench.store))  # with a connection to SQLite

    flow = build("held", define)
    run = bench.submit(flow)
    with pytest.raises(GoflowError, match="'held': defined in no file"):
        bench.work([flow], run, start_method="spawn")


def test_an_unknown_start_method_is_one_message(bench: Bench) -> None:
    with pytest.raises(GoflowError, match=r"expected one of .*spawn.*, got 'frok'"):
        bench.work([], start_method="frok")


REPL = """
import sys
import goflow

service = goflow.FlowService(backend="file://" + sys.argv[1], worker_concurrency=1)
FACTOR = 3

def helper(data: int) -> int:
    return data * FACTOR

def define(workflow, context):
    workflow.dag.node("work", helper)

service.register("scaled", define)
run = service.execute("scaled", 14, run_id="r1")
import threading

def stop_at_the_end():
    assert goflow.Client("file://" + sys.argv[1]).wait("r1", 60).json() == 42
    service.shutdown()

watcher = threading.Thread(target=stop_at_the_end)
watcher.start()
service.start_worker()
watcher.join()
print("it is", service.client.result("r1").json())
"""


@pytest.mark.parametrize("method", METHODS)
def test_definitions_typed_into_a_prompt_reach_children(tmp_path: Path, method: str) -> None:
    done = subprocess.run(
        [sys.executable, "-", str(tmp_path / "store")],
        input=REPL,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        cwd=tmp_path,
        env={
            **os.environ,
            "GOFLOW_START_METHOD": method,
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
        check=False,
    )
    assert done.stdout == "it is 42\n", done.stderr


HANGING = """
import os
import subprocess
import time


def hang(data):
    helper = subprocess.Popen(["sleep", "600"])
    with open(f"pids-{os.getpid()}.part", "w") as file:
        file.write(f"{os.getpid()} {helper.pid}")
    os.rename(f"pids-{os.getpid()}.part", f"pids-{os.getpid()}")
    while True:  # busy, and holds the lock: nothing in Python could end it
        pass


def define_workflow(workflow, context):
    each = workflow.dag.foreach_branch("each", lambda data: [0, 1])
    each.node("hang", hang)
"""


@pytest.mark.parametrize("method", METHODS)
def test_children_die_with_a_killed_supervisor(tmp_path: Path, method: str) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "goflow.toml").write_text("[worker]\nconcurrency = 2\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "goflow_cli.main", "run", "hanging.py"],
        cwd=tmp_path,
        env={**os.environ, "GOFLOW_START_METHOD": method},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while len(found := list(tmp_path.glob("pids-*[0-9]"))) < 2:
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    pids = [int(pid) for file in found for pid in file.read_text().split()]
    assert len(pids) == 4
    until_vanished(pids)


FAN_OUT = textwrap.dedent(
    """
    import os, resource, sys, time
    from goflow.backend import WorkerInfo
    from goflow.config import Config, Local
    from goflow.engine import request
    from goflow.host import register
    from goflow.payload import of_input
    from goflow.worker import Worker
    from goflow.workflow import build
    from goflow_local import LocalBackend

    def define(workflow, context):
        each = workflow.dag.foreach_branch("each", lambda n: (b"%0500d" % i for i in range(int(n))))
        each.node("work", lambda data: data)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    flow = build("flow", define)
    store = LocalBackend.open("local", Config(local=Local(path=sys.argv[1])))
    register(store, flow)

    def open_branch(run_id, width):
        info = WorkerInfo(id=0, host="", pid=os.getpid(), started=time.time(), concurrency=1,
                          flows=(flow.key,))
        me = store.enter(info)
        store.submit(request(flow.plan, run_id, of_input(width)))
        class Observer:
            def started(self, task):
                if task.path != "each":
                    worker.drain(0)
            def printed(self, *_): pass
            def finished(self, *_): pass
            def troubled(self, *_): pass
            def draining(self, *_): pass
            def pulse(self): return None

        worker = Worker(store, [flow], me, concurrency=1, observer=Observer())
        worker.run()
        store.leave(me)
        [branch] = store.nodes(run_id, ["each"])
        assert branch.width == width, branch
        store.control(run_id, "stop")

    open_branch("small", 2_000)
    before = peak()
    open_branch("wide", int(sys.argv[2]))
    print(peak() - before)
    """
)


def test_a_fan_out_of_100000_leaves_the_supervisor_small(tmp_path: Path) -> None:
    """50 MB of items go through it in chunks; it never holds more than a few of them."""
    done = subprocess.run(
        [sys.executable, "-c", FAN_OUT, str(tmp_path / "store"), "100000"],
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 12_000_000
