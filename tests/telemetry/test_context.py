"""Trace contexts: whose trace a run continues, and whether it is told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from goflow.config import Config, Telemetry
from goflow.engine import request
from goflow.errors import ConfigError
from goflow.payload import of_input
from goflow.tracing import caller, check_sampler, trace_of
from goflow.workflow import build

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "TRACEPARENT", "TRACESTATE"):
        monkeypatch.delenv(name, raising=False)


def test_a_callers_trace_is_continued() -> None:
    found = trace_of("r1", {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert (f"{found.id:032x}", f"{found.parent:016x}") == (TRACE, PARENT)
    assert found.root == trace_of("r1", {}).root
    assert found.traceparent == f"00-{TRACE}-{found.root:016x}-01"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00-x-y-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        "ff",
    ],
)
def test_a_broken_traceparent_begins_a_trace_of_its_own(given: str) -> None:
    assert trace_of("r1", {"traceparent": given}) == trace_of("r1", {})


def test_a_later_version_of_traceparent_may_say_more() -> None:
    assert trace_of("r1", {"traceparent": f"01-{TRACE}-{PARENT}-01-more"}).parent != 0


@pytest.mark.parametrize(
    ("sampler", "flags", "told"),
    [
        ("", "01", True),
        ("", "00", False),
        ("", None, True),
        ("parentbased_always_off", "01", True),
        ("parentbased_always_off", None, False),
        ("always_on", "00", True),
        ("always_off", "01", False),
    ],
)
def test_samplers_do_what_they_do_everywhere(
    monkeypatch: pytest.MonkeyPatch, sampler: str, flags: str | None, told: bool
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    headers = {} if flags is None else {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
    assert trace_of("r1", headers).sampled is told


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_a_share_of_runs_is_the_share_that_the_sdk_takes(
    monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    sdk = TraceIdRatioBased(0.25)
    traces = [trace_of(f"r{number}", {}) for number in range(400)]
    taken = [found.sampled for found in traces]
    theirs = [sdk.should_sample(None, found.id, "x").decision for found in traces]
    assert taken == [decision is Decision.RECORD_AND_SAMPLE for decision in theirs]
    assert 60 < sum(taken) < 140


def test_a_sampler_that_we_do_not_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always-on")
    with pytest.raises(
        ConfigError, match="OTEL_TRACES_SAMPLER=always-on: expected one of always_on"
    ):
        check_sampler()


def test_inside_a_span_its_trace_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{PARENT}-01")
    assert caller() == {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("t").start_as_current_span("mine") as span:
        made = span.get_span_context()
        assert caller()["traceparent"].startswith(f"00-{made.trace_id:032x}-{made.span_id:016x}-")
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_caller_without_opentelemetry_loads_none() -> None:
    code = "import sys, goflow.tracing as t; t.caller(); sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_trace_is_no_part_of_what_makes_a_run_the_same() -> None:
    def define(workflow: object, context: object) -> None:
        workflow.dag.node("a", lambda data: data)  # type: ignore[attr-defined]

    plan = build("f", define).plan
    one, other = (
        request(plan, "r", of_input(b"x"), headers=headers)
        for headers in ({}, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    )
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")]
)
def test_opentelemetrys_own_switches_turn_traces_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    config = Config(telemetry=Telemetry(traces="otlp"))
    assert config.telemetry.on
    monkeypatch.setenv(name, value)
    assert not config.telemetry.on
