"""Random nested flows give what the reference says over the local backend too: with its worker's child
processes, and (many more, without processes) with every attempt claimed and committed by hand."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from goflow import RunFailed
from goflow.backend import Backend, Retry, WorkerInfo
from goflow.config import Config, Local
from goflow.engine import request
from goflow.loader import load
from goflow.plan import decode_key
from goflow.rewind import rewind_from
from goflow.worker import Worker
from goflow.workflow import Flow as Loaded
from goflow.workflow import build
from goflow_local import LocalBackend
from tests.properties.hands import Hands
from tests.properties.reference import Told
from tests.properties.shapes import Artist, Flow, Graph, Seeded, define
from tests.properties.strategies import flows

HANDLERS = ("~on_failure", "~finally")
RUN = "run"

bounded = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def ends_as_told(backend: Backend, run_id: str, told: Told) -> bool:
    """Whether the run succeeded; what it made, or where it failed, is what the reference says."""
    run = backend.run(run_id)
    assert run.state.terminal
    try:
        result = backend.result(run_id)
    except RunFailed:
        assert run.failure is not None
        assert run.failure.node in told.failed
        return False
    assert not told.failed
    assert result == told.result
    recorded = {node.path for node in backend.nodes(run_id)} - {*HANDLERS}
    assert recorded == told.outputs.keys()
    for path, output in told.outputs.items():
        assert backend.output(run_id, path) == output
    return True


# -- by hand --------------------------------------------------------------------------------------


class ByHand:
    """One run of a shape over a store in memory, worked off in an order that a seed decides."""

    def __init__(self, shape: Flow, seed: int) -> None:
        self.flow = build("random", define(shape))
        self.backend = LocalBackend.open("local", Config(), ephemeral=True)
        self.hands = Hands(self.backend, self.flow, random.Random(seed).randint)
        self.backend.submit(request(self.flow.plan, RUN, shape.payload()))
        self.hands.work()

    def __enter__(self) -> ByHand:
        return self

    def __exit__(self, *exc: object) -> None:
        self.backend.close()

    @property
    def executed(self) -> dict[str, int]:
        return {path: n for path, n in self.hands.executed.items() if path not in HANDLERS}

    def again(self, path: str) -> None:
        """`goflow retry --from PATH`, worked off."""
        self.hands.executed.clear()
        self.backend.retry(RUN, Retry(rewind=rewind_from(self.flow.plan, path)))
        self.hands.work()


@bounded
@given(flows(), st.integers(0, 2**32))
def test_every_order_of_claims_and_commits_gives_what_the_reference_says(
    shape: Flow, seed: int
) -> None:
    told = Told(shape)
    with ByHand(shape, seed) as run:
        succeeded = ends_as_told(run.backend, RUN, told)
        event("succeeds" if succeeded else "fails")
        if succeeded:
            assert run.executed == told.executed
        handlers = {path: n for path, n in run.hands.executed.items() if path in HANDLERS}
        expected = [shape.on_failure and not succeeded, shape.finally_]
        assert handlers == {path: 1 for path, due in zip(HANDLERS, expected, strict=True) if due}


@bounded
@given(flows(), st.integers(0, 2**32), st.data())
def test_a_retry_from_any_node_repeats_it_and_all_after_it_and_nothing_else(
    shape: Flow, seed: int, data: st.DataObject
) -> None:
    told = Told(shape)
    with ByHand(shape, seed) as run:
        for _ in range(2):
            recorded = [node.path for node in run.backend.nodes(RUN)]
            paths = [p for p in recorded if not p.startswith("~") and not p.endswith("]")]
            assume(paths)
            path = data.draw(st.sampled_from(paths))
            run.again(path)
            if ends_as_told(run.backend, RUN, told):
                assert run.executed == repeated(shape, told.executed, path)


def repeated(shape: Flow, executed: dict[str, int], path: str) -> dict[str, int]:
    """How often `retry --from path` executes each node: read off the shape, level by level outwards."""
    levels: list[tuple[Graph, str, str, str]] = []
    graph, prefix = shape.graph, ""
    for part in path.split("/"):
        name, _, key = part.removesuffix("]").partition("[")
        levels.append((graph, prefix, name, prefix + part))
        (node,) = [node for node in graph.nodes if node.name == name]
        if node.kind == "conditional" and key:
            graph = node.dags[decode_key(key)]
        elif node.kind == "sub_dag" or key:
            graph = node.dags[""]
        prefix += part + "/"
    found: dict[str, int] = {}
    for graph, prefix, name, scope in reversed(levels):
        again = after(graph, name)
        if scope != path:  # the branch around it closes again, and a join before that
            again.remove(name)
            found[prefix + name] = 1
            found |= {scope: 1} if scope in executed and scope.endswith("]") else {}
        for each in again:
            inside = (prefix + each, f"{prefix}{each}/", f"{prefix}{each}[")
            found |= {
                p: n for p, n in executed.items() if p == inside[0] or p.startswith(inside[1:])
            }
    return found | ({"~result": 1} if "~result" in executed else {})


def after(graph: Graph, name: str) -> list[str]:
    found = [name]
    for each in found:
        found += [e.target for e in graph.edges if e.source == each and e.target not in found]
    return found


# -- with processes -------------------------------------------------------------------------------

FILE = """
import json
from pathlib import Path

import goflow
from tests.properties.shapes import Flow, define

for name, shape in json.loads(Path(__file__).with_suffix(".json").read_text()).items():
    globals()[name] = goflow.flow(name)(define(Flow.from_json(shape)))
"""


class Batch:
    """Random flows from seeds in one flow file, over one store, worked off by real child processes."""

    def __init__(self, folder: Path, seeds: range) -> None:
        self.shapes = {f"flow-{seed}": Artist(Seeded(seed)).flow() for seed in seeds}
        file = folder / "random_flows.py"
        file.write_text(FILE)
        written = {name: shape.to_json() for name, shape in self.shapes.items()}
        file.with_suffix(".json").write_text(json.dumps(written))
        self.flows: dict[str, Loaded] = load(file)
        config = Config(local=Local(path=str(folder / "store")))
        self.backend = LocalBackend.open("local", config)

    def run(self, start_method: str, concurrency: int = 2) -> None:
        """Submit one run of each, and work until all have ended."""
        for name, shape in self.shapes.items():
            self.backend.submit(request(self.flows[name].plan, name, shape.payload()))
        flows = list(self.flows.values())
        info = WorkerInfo(
            id=0,
            host="here",
            pid=os.getpid(),
            started=0.0,
            concurrency=concurrency,
            flows=tuple(flow.key for flow in flows),
        )
        me = self.backend.enter(info)
        worker = Worker(self.backend, flows, me, concurrency=concurrency, start_method=start_method)
        worker.run(until=self._ended)
        self.backend.leave(me)

    def _ended(self) -> bool:
        return all(self.backend.run(name).state.terminal for name in self.shapes)


@pytest.mark.parametrize(
    ("start_method", "seeds"),
    [
        ("fork", range(0, 60)),
        ("forkserver", range(60, 75)),
        ("spawn", range(75, 90)),
    ],
)
def test_real_workers_give_what_the_reference_says(
    tmp_path: Path, start_method: str, seeds: range
) -> None:
    batch = Batch(tmp_path, seeds)
    with batch.backend:
        batch.run(start_method)
        ended = [ends_as_told(batch.backend, n, Told(s)) for n, s in batch.shapes.items()]
    assert any(ended)
    assert not all(ended)
