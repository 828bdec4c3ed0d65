"""Traces of local runs: what the collector is told, and when it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from goflow.backend import Attempt, Backend, load_backend
from goflow.config import Config, PayloadLimits, load_config
from goflow.exporting import Refused
from goflow.spans import Span
from goflow.teller import Teller
from goflow.testing.store import Worker, request
from goflow.untold import Tellable
from tests.telemetry.collector import Collector, check, collecting

FLOW = """
import os
import signal

import goflow
from opentelemetry import trace

tracer = trace.get_tracer("of the author", "1.2")


def fail_once(data, options, context):
    if context.attempt == 1:
        raise ValueError("secret words")
    return data


def choose(data):
    with tracer.start_as_current_span("choosing"):
        return {"a": b"1", "b": b"2"}


def work(data):
    with tracer.start_as_current_span("outer") as span:
        span.set_attribute("numbers", [1, 2])
        with tracer.start_as_current_span("inner"):
            return data


def close(data):
    with tracer.start_as_current_span("closing"):
        return b"both"


@goflow.flow("traced")
def traced(workflow, context):
    dag = workflow.dag
    dag.node("first", fail_once, retries=1, retry_delay=0.05)
    each = dag.foreach_branch("each", choose, aggregator=close)
    each.node("work", work)
    dag.edge("first", "each")
    workflow.finally_(lambda state: None)


def die(data):
    with tracer.start_as_current_span("before death"):
        pass
    with tracer.start_as_current_span("never finished"):
        os.kill(os.getpid(), signal.SIGKILL)


@goflow.flow("dies")
def dies(workflow, context):
    workflow.dag.node("fatal", die)


@goflow.flow("nested")
def nested(workflow, context):
    inner = goflow.Dag()
    inner.node("fails", fail_once)
    each = workflow.dag.foreach_branch("each", lambda data: [b"x", b"y"])
    each.sub_dag("sub", inner)
"""


def goflow(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A goflow command over a store in this folder."""
    (folder / "flow.py").write_text(FLOW)
    return subprocess.run(
        [sys.executable, "-m", "goflow_cli.main", *command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "GOFLOW_LOCAL_PATH": str(folder / "store"), **environment},
    )


def run(folder: Path, collector: Collector, flow: str, *options: str, **more: str) -> int:
    """`goflow run` of a flow with traces on."""
    command = ("run", str(folder / "flow.py"), "--flow", flow, *options)
    return goflow(folder, *command, **(collector.environment | more)).returncode


@pytest.mark.parametrize("options", [(), ("--ephemeral",)])
def test_a_run_is_one_trace_of_all_it_did(tmp_path: Path, options: tuple[str, ...]) -> None:
    with collecting() as collector:
        assert run(tmp_path, collector, "traced", "--request-id", "r1", *options) == 0
    spans = collector.spans
    root = check(spans)
    assert root.name == "flow traced"
    by_id = {span.id: span for span in spans}
    tree = sorted((span.name, by_id[span.parent].name) for span in spans if span is not root)
    assert tree == sorted(
        [
            ("submit", "flow traced"),
            *[("first", "flow traced")] * 2,
            ("retry wait", "flow traced"),
            *[("queue wait", "flow traced")] * 4,
            ("each", "flow traced"),
            ("choosing", "each"),
            *[("queue wait", "each")] * 2,
            ("each[a]/work", "each"),
            ("each[b]/work", "each"),
            ("outer", "each[a]/work"),
            ("outer", "each[b]/work"),
            *[("inner", "outer")] * 2,
            ("closing", "each"),
            ("~finally", "flow traced"),
        ]
    )
    assert [span.failed for span in collector.named("first")] == [True, False]
    (retry,) = collector.named("retry wait")
    assert 0.04 < retry.end - retry.start < 5
    assert root.attributes["goflow.run_id"] == "r1"
    assert root.attributes["goflow.state"] == "succeeded"
    assert collector.named("each")[0].attributes["goflow.scopes"] == 2
    assert not any("secret words" in span.text for span in spans)


def test_a_node_that_is_debugged_has_its_spans_below_its_attempt(tmp_path: Path) -> None:
    with collecting() as collector:
        assert run(tmp_path, collector, "traced", "--request-id", "r1") == 0
        debugged = ("debug", "r1", "each[b]/work")
        assert goflow(tmp_path, *debugged, **collector.environment).returncode == 0
    check(collector.spans)
    (attempt,) = collector.named("each[b]/work")
    outer = [span for span in collector.named("outer") if span.parent == attempt.id]
    assert len(outer) == 2, "that of the run, and that of the debugged node"
    assert {span.trace for span in outer} == {attempt.trace}
    inner = {span.parent for span in collector.named("inner")}
    assert {span.id for span in outer} <= inner


def test_what_user_code_finished_before_its_process_died_is_told(tmp_path: Path) -> None:
    with collecting() as collector:
        assert run(tmp_path, collector, "dies") == 1
    root = check(collector.spans)
    assert root.failed
    (fatal,) = collector.named("fatal")
    assert fatal.failed
    assert fatal.attributes["error.type"] == "ProcessDied"
    assert collector.named("before death")[0].parent == fatal.id
    assert collector.named("never finished") == []


def test_every_round_of_a_run_is_in_its_trace(tmp_path: Path) -> None:
    with collecting() as collector:
        assert run(tmp_path, collector, "nested", "--request-id", "r1") == 1
        first = list(collector.spans)
        again = goflow(tmp_path, "retry", "r1", **collector.environment)
        assert again.returncode == 1, again.stderr
    check(first)
    later = collector.spans[len(first) :]
    assert {span.trace for span in collector.spans} == {first[0].trace}
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    roots = [span for span in collector.spans if not span.parent]
    assert [span.attributes["goflow.round"] for span in roots] == [1, 2]
    known = {span.id for span in collector.spans}
    assert all(span.parent in known for span in collector.spans if span.parent)
    assert {span.name for span in later} >= {"flow nested", "each[0]/sub/fails"}


def test_spans_and_headers_are_as_the_standard_variables_say(tmp_path: Path) -> None:
    with collecting() as collector:
        code = run(
            tmp_path,
            collector,
            "traced",
            GOFLOW_TELEMETRY_ENDPOINT="",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_SERVICE_NAME="pictures",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        )
        assert code == 0
    check(collector.spans)
    assert {headers.get("x-tenant") for headers in collector.headers} == {"blue"}
    for span in collector.spans:
        assert span.resource["service.name"] == "pictures"
        assert span.resource["deployment.environment"] == "test"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
    ],
)
def test_what_is_not_sampled_is_not_told(tmp_path: Path, variables: dict[str, str]) -> None:
    with collecting() as collector:
        assert run(tmp_path, collector, "traced", **variables) == 0
    assert collector.spans == []


def test_a_command_started_in_a_trace_continues_it(tmp_path: Path) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collecting() as collector:
        assert run(tmp_path, collector, "traced", TRACEPARENT=f"00-{trace}-{parent}-01") == 0
    root = check(collector.spans, callers=parent)
    assert root.trace == trace


def test_a_run_that_a_collector_did_not_take_is_told_when_it_is_back(tmp_path: Path) -> None:
    with collecting() as collector:
        collector.away = True
        assert run(tmp_path, collector, "traced", "--request-id", "r1") == 0
        assert collector.spans == []
        collector.away = False
        assert run(tmp_path, collector, "dies", "--request-id", "r2") == 1
    traces = {span.trace for span in collector.spans}
    assert len(traces) == 2
    own = {"outer", "inner", "choosing", "closing", "before death"}
    for trace in traces:
        check(collector.of(trace))
    assert len(collector.named("flow traced")) == 1
    assert not own & {span.name for span in collector.of(collector.named("flow traced")[0].trace)}


def test_an_unreachable_collector_harms_no_run_and_is_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    began = time.monotonic()
    done = goflow(
        tmp_path,
        *("run", "flow.py", "--flow", "traced"),
        GOFLOW_TELEMETRY_TRACES="otlp",
        GOFLOW_TELEMETRY_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    assert (done.returncode, done.stdout) == (0, "both")
    assert done.stderr.count("collector") == 1
    assert time.monotonic() - began < 10


def test_a_sampler_that_we_do_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    done = goflow(
        tmp_path,
        *("run", "flow.py", "--flow", "traced"),
        GOFLOW_TELEMETRY_TRACES="console",
        OTEL_TRACES_SAMPLER="parent_based_always_on",
    )
    assert done.returncode == 2
    assert "expected one of always_on" in done.stderr
    assert "parentbased_always_on" in done.stderr


def test_off_imports_nothing_of_it(tmp_path: Path) -> None:
    assert load_config(tmp_path).telemetry.traces == "off"
    code = (
        "import sys, goflow.host, goflow.child, goflow.client;"
        "sys.exit(any(name.startswith(('opentelemetry', 'goflow.teller', 'goflow.spans'))"
        " for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class _Kept:
    """An exporter that keeps names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, spans: Sequence[Span], refused: Refused) -> str:
        self.names += [span.name for span in spans]
        return ""


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Backend]:
    """A store with two runs to be told; the large payload of the first is gone."""
    limits = PayloadLimits(inline_limit=1000, blobs=str(tmp_path / "blobs"))
    url = f"file://{tmp_path}/store"
    with load_backend(url, Config(backend=url, payload=limits)) as backend:
        assert isinstance(backend, Tellable)
        backend.traced = True
        worker = Worker(backend)
        for name, size in (("large", 5000), ("small", 5)):
            backend.submit(request(name, payload=b"x" * size))
            assert worker.succeed(worker.one(), ends=True)
        shutil.rmtree(tmp_path / "blobs")
        yield backend


def test_telling_a_run_needs_none_of_its_payloads(ended: Backend) -> None:
    kept = _Kept()
    assert Teller(kept, ended, deque()).turn()
    assert kept.names.count("submit") == 2


def test_what_cannot_be_told_holds_up_nothing_else(
    ended: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def attempts(run_id: str) -> list[Attempt]:
        if run_id == "large":
            raise RuntimeError("a defect")
        return known(run_id)

    known = ended.attempts
    monkeypatch.setattr(ended, "attempts", attempts)
    kept = _Kept()
    teller = Teller(kept, ended, deque([b"no span"]))
    assert teller.turn()
    assert kept.names.count("submit") == 1
    assert "no span" in capsys.readouterr().err
    assert teller.turn(), "the store has nothing to tell any more"
    assert kept.names.count("submit") == 1


def test_an_error_of_the_store_or_the_exporter_is_tried_again(
    ended: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = _Kept()
    teller = Teller(kept, ended, deque())
    with monkeypatch.context() as broken:
        broken.setattr(kept, "export", lambda spans, refused: 1 / 0)
        assert not teller.turn()
    assert "tried again: ZeroDivisionError" in capsys.readouterr().err
    assert teller.turn()
    assert kept.names.count("submit") == 2
