"""Random nested flows give what the reference says when real workers execute them in child processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from goflow.backend import WorkerInfo
from goflow.config import Config, Local
from goflow.engine import request
from goflow.loader import load
from goflow.worker import Worker
from goflow.workflow import Flow
from goflow_local import LocalBackend
from tests.properties.hands import ends_as_told
from tests.properties.reference import Told
from tests.properties.shapes import Artist, Seeded

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
        self.flows: dict[str, Flow] = load(file)
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
