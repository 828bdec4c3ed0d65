"""Real processes killed at random moments, and an account of what was executed that no store keeps.

Node bodies append a line to a file at their start; the kernel makes each line whole and keeps it, whoever
dies. That file, the exit codes and what `goflow show --json` said before each kill are all the oracle
there is.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

GOFLOW = (sys.executable, "-m", "goflow_cli.main")
#: seconds after which a run that should have ended is given up
PATIENCE = 90.0

FLOW = '''
import os
import time
from hashlib import sha256

import goflow


def note(context):
    """One line: run, node, process, its parent."""
    fd = os.open("trace.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{context.run_id} {context.node} {os.getpid()} {os.getppid()}\\n".encode())
    os.close(fd)


def work(data: str, options, context) -> str:
    note(context)
    digest = sha256(f"{context.node} {data}".encode()).hexdigest()
    time.sleep(int(digest[:2], 16) / 25600)
    return digest[:16]


def join(inputs: dict[str, str]) -> str:
    context = goflow.current_context()
    note(context)
    return " ".join(f"{name}={value}" for name, value in inputs.items())


@goflow.flow("chaos")
def chaos(workflow, context):
    dag = workflow.dag
    dag.node("start", work) >> [dag.node("left", work), dag.node("right", work)] >> dag.node(
        "join", work, aggregator=join
    )
    each = dag.foreach_branch(
        "each", lambda data: {f"k{n}": f"{n} {data.decode()}" for n in range(15)}, aggregator=join
    )
    each.node("first", work) >> [each.node("a", work), each.node("b", work)]
    kinds = dag.conditional_branch("kind", ["x", "y", "z"], lambda data: ["x", "z"])
    for key, inner in kinds.items():
        inner.node("one", work) >> inner.node("two", work)
    tiny = dag.foreach_branch("tiny", lambda data: list(range(200)))
    tiny.node("quick", lambda data: (note(context), data)[1])
    dag.edge("join", "each")
    dag.edge("each", "kind")
    dag.edge("kind", "tiny")
    dag.node("end", work)
    dag.edge("tiny", "end")


@goflow.flow("handled")
def handled(workflow, context):
    """Fails for good, so that both handlers run."""

    def fail(data, options, context):
        note(context)
        raise ValueError("as it must")

    workflow.dag.node("a", work) >> workflow.dag.node("fail", fail)
    workflow.on_failure(lambda error: note(context))
    workflow.finally_(lambda state: note(context))
'''


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Hammer:
    """A project folder, the processes over it, and what is known of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.kills = 0
        #: lines of each (run, node) at the moment it was seen succeeded: it must have no more
        self.settled: dict[tuple[str, str], int] = {}
        self.live: list[subprocess.Popen[bytes]] = []
        (folder / "flow.py").write_text(FLOW)
        (folder / "goflow.toml").write_text(
            'flows = ["flow.py"]\n[worker]\nconcurrency = 3\nlease = 2\n'
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command in the background."""
        with (self.folder / "stderr.txt").open("ab") as stderr:
            process = subprocess.Popen(
                [*GOFLOW, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.live.append(process)
        return process

    def do(self, *arguments: str) -> Ended:
        """A command to its end."""
        done = subprocess.run(
            [*GOFLOW, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "mistake" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def nap(self, most: float) -> None:
        """A random pause."""
        time.sleep(self.random.uniform(0, most))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9, and see to it that its children have gone with it."""
        self.live.remove(process)
        if process.poll() is None:
            self.kills += 1
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        children = {pid for _, _, pid, parent in self.trace() if parent == process.pid}
        deadline = time.monotonic() + PATIENCE
        while any(_alive(pid, process.pid) for pid in children):
            assert time.monotonic() < deadline, f"children of {process.pid} are left: {children}"
            time.sleep(0.005)

    def end(self, process: subprocess.Popen[bytes]) -> Ended:
        """Wait for a command's own end."""
        out, _ = process.communicate(timeout=PATIENCE)
        self.live.remove(process)
        return Ended(process.returncode, out.decode(), "")

    def trace(self) -> list[tuple[str, str, int, int]]:
        """Every execution so far: run, node, process, its parent."""
        path = self.folder / "trace.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        found = []
        for line in lines:
            run_id, node, pid, parent = line.split()
            found.append((run_id, node, int(pid), int(parent)))
        return found

    def executions(self) -> Counter[tuple[str, str]]:
        """How often each node of each run was begun."""
        return Counter((run_id, node) for run_id, node, _, _ in self.trace())

    def look(self, run_id: str) -> str:
        """Ask for a run's state, and remember which nodes must not be executed any more."""
        shown = self.do("show", run_id, "--json")
        if shown.code != 0:
            return ""
        told: dict[str, Any] = json.loads(shown.out)
        counted = self.executions()
        for node in told["nodes"]:
            if node["state"] == "succeeded":
                key = (run_id, node["path"])
                self.settled.setdefault(key, counted[key])
        return str(told["state"])

    def runs(self) -> dict[str, str]:
        """The state of every run."""
        listed = json.loads(self.do("runs", "--limit", "1000", "--json").out)
        return {run["run_id"]: run["state"] for run in listed}

    def wait_for_all(self) -> dict[str, str]:
        """Until every run the store holds is terminal."""
        deadline = time.monotonic() + PATIENCE
        while True:
            states = self.runs()
            if set(states.values()) <= {"succeeded", "failed", "stopped"}:
                return states
            assert time.monotonic() < deadline, states
            time.sleep(0.05)

    def judge(self) -> None:
        """What holds of every execution, whatever was killed when."""
        counted = self.executions()
        for key, before in self.settled.items():
            assert counted[key] == before, f"{key} was executed again after it had succeeded"
        # a node with a reduction and a function of its own notes twice
        most = 1 + self.kills
        for (run_id, node), count in counted.items():
            each = 2 if node == "join" else 1
            assert count <= each * most, f"{run_id} {node}: {count} executions, {self.kills} kills"

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.live:
            process.kill()
            process.communicate(timeout=PATIENCE)


def _alive(pid: int, parent: int) -> bool:
    """Whether that very child still runs; a zombie waits for somebody to notice, and runs nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        mine = b"goflow" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return mine and stat[0] != "Z" and int(stat[1]) in (parent, 1)


def seed() -> int:
    """GOFLOW_CHAOS_SEED, else a new one; printed, so that a failure can be repeated."""
    chosen = int(os.environ.get("GOFLOW_CHAOS_SEED") or random.SystemRandom().randrange(10**9))
    print(f"GOFLOW_CHAOS_SEED={chosen}")
    return chosen
