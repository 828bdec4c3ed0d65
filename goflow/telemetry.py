"""Traces: one trace per run, a span per attempt, told by whichever worker committed it.

Ids are derived, not drawn: a run's trace and root span come from its run id (or from the `traceparent` of
the HTTP request that started it), an attempt's span from its token. So workers on many machines tell parts
of one trace without talking to each other, and nothing has to travel with a task.

Spans are made by the supervisor from what it commits, exactly once, since a commit is accepted exactly
once; a child that dies takes no span with it. Attributes are ids, sizes and durations, never payloads
or messages. With `traces = "off"` none of this is imported.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import BackendError, ConfigError, UnknownRun
from goflow.message import FINALLY, ON_FAILURE, Outcome, Task
from goflow.observer import Observer, Quiet

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

    from goflow.backend import Backend, Run
    from goflow.config import Config

#: seconds between looks at runs that are about to end
_LOOK: Final = 1.0
#: how long it is remembered that a run's root span has been told, in seconds
_TOLD: Final = 30 * 86400.0


@contextmanager
def traced(config: Config, backend: Backend, observer: Observer | None) -> Iterator[Observer]:
    """The observer, with traces where the configuration wants them; spans are flushed at the end.

    Raises ConfigError where the exporter is not installed. Open it before children are started: the
    exporter has a thread, and a process with threads must not be forked.
    """
    if config.telemetry.traces == "off":
        yield observer or Quiet()
        return
    tracing = Tracing(backend, _exporter(config), observer or Quiet())
    try:
        yield tracing
    finally:
        tracing.close()


class Tracing:
    """Passes everything on to another observer, and tells spans of what was accepted."""

    def __init__(self, backend: Backend, exporter: SpanExporter, inner: Observer) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._backend = backend
        self._inner = inner
        self._ids = _ids()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create({"service.name": "goflow"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("goflow")
        self._ending: dict[str, Task] = {}
        self._look_at = 0.0

    def started(self, task: Task) -> None:
        """Pass it on."""
        self._inner.started(task)

    def printed(self, task: Task, data: bytes) -> None:
        """Pass it on."""
        self._inner.printed(task, data)

    def troubled(self, error: BackendError) -> None:
        """Pass it on."""
        self._inner.troubled(error)

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        """Tell the attempt's span, and remember a run that may be about to end."""
        self._inner.finished(outcome, accepted)
        if not accepted or outcome.released:
            return
        self._attempt(outcome)
        step, path = outcome.step, outcome.task.path
        ends = step is not None and step.ends
        if ends or path in (ON_FAILURE, FINALLY) or outcome.failure is not None or outcome.stopped:
            self._ending[outcome.task.run_id] = outcome.task
            self._look_at = 0.0

    def pulse(self) -> float | None:
        """Tell the root span of runs that have ended; look again in a second at the others."""
        now = time.monotonic()
        if self._ending and now >= self._look_at:
            self._settle()
            self._look_at = now + _LOOK
        inner = self._inner.pulse()
        mine = _LOOK if self._ending else None
        return min((each for each in (inner, mine) if each is not None), default=None)

    def close(self) -> None:
        """Tell what is left and flush; a collector that is away is given up after five seconds."""
        self._settle()
        self._provider.force_flush(5000)
        self._provider.shutdown()

    def _settle(self) -> None:
        for run_id, task in list(self._ending.items()):
            try:
                run = self._backend.run(run_id)
                if run.state.terminal and self._backend.remember(f"trace:{run_id}", _TOLD):
                    self._root(run, task)
            except UnknownRun:
                pass
            except BackendError:
                continue  # the store is away: another look will tell
            else:
                if not run.state.terminal:
                    continue
            del self._ending[run_id]

    def _attempt(self, outcome: Outcome) -> None:
        from opentelemetry.trace import Status, StatusCode

        task = outcome.task
        attributes: dict[str, Any] = {
            "goflow.run_id": task.run_id,
            "goflow.flow": task.flow,
            "goflow.node": task.path,
            "goflow.attempt": task.attempt,
            "goflow.round": task.round,
        }
        if outcome.step is not None and outcome.step.output is not None:
            attributes["goflow.output_bytes"] = len(outcome.step.output.data)
        if outcome.step is not None and outcome.step.opened is not None:
            attributes["goflow.scopes"] = outcome.step.opened.expects
        trace, root, _ = identity(task.run_id, task.headers)
        self._ids.next = (trace, _number(f"{task.run_id} {task.path} {task.token}", 8))
        span = self._tracer.start_span(
            task.path,
            context=_under(_remote(trace, root)),
            start_time=_nanoseconds(outcome.started),
            attributes=attributes,
        )
        if outcome.failure is not None:
            span.set_attribute("error.type", outcome.failure.type)
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(outcome.finished))

    def _root(self, run: Run, task: Task) -> None:
        from opentelemetry.trace import Status, StatusCode

        trace, root, parent = identity(run.id, task.headers)
        self._ids.next = (trace, root)
        span = self._tracer.start_span(
            f"flow {run.flow}",
            context=_under(_remote(trace, parent)) if parent else _nothing(),
            start_time=_nanoseconds(run.created),
            attributes={
                "goflow.run_id": run.id,
                "goflow.flow": run.flow,
                "goflow.state": str(run.state),
                "goflow.queue_seconds": (run.started or run.created) - run.created,
            },
        )
        if run.state == "failed":
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(run.finished or time.time()))


def identity(run_id: str, headers: dict[str, str]) -> tuple[int, int, int]:
    """A run's trace id, the id of its root span, and that span's parent (0: it has none).

    A valid W3C `traceparent` (https://www.w3.org/TR/trace-context/) continues its caller's trace.
    """
    root = _number(f"root {run_id}", 8)
    parts = headers.get("traceparent", "").split("-")
    if len(parts) >= 4 and [len(part) for part in parts[:3]] == [2, 32, 16] and parts[0] != "ff":
        try:
            trace, parent = int(parts[1], 16), int(parts[2], 16)
        except ValueError:
            trace = parent = 0
        if trace and parent:
            return trace, root, parent
    return _number(f"trace {run_id}", 16), root, 0


def _exporter(config: Config) -> SpanExporter:
    if config.telemetry.traces == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # stdout belongs to results
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError(
            'telemetry.traces = "otlp" needs the exporter: pip install "goflow-cli[otlp]"'
        ) from None
    endpoint = config.telemetry.endpoint.rstrip("/")
    if endpoint and not endpoint.endswith("/v1/traces"):
        endpoint += "/v1/traces"
    # without one the standard OTEL_EXPORTER_OTLP_* variables say where
    exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint or None)
    return exporter


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Given(IdGenerator):
        """Answers the ids that were laid out for the next span."""

        next = (0, 0)

        def generate_trace_id(self) -> int:
            return self.next[0]

        def generate_span_id(self) -> int:
            return self.next[1]

    return Given()


def _remote(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _under(parent: SpanContext) -> Any:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(parent), _nothing())


def _nothing() -> Any:
    from opentelemetry.context import Context

    return Context()


def _number(text: str, size: int) -> int:
    """A non-zero number of `size` bytes from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
