"""Spans of user code: what a node adds to its run's trace with the OpenTelemetry API.

While a task is executed, OpenTelemetry's current span is that of its attempt (or of its branch), so spans that
user code starts nest below it, and what it sends elsewhere carries the trace. A finished span goes to the
teller at once, as one datagram: a process that is killed takes only those with it that it had not finished.

A program that has set a tracer provider of its own keeps it: its spans nest the same way, and go where it
says. Else a provider is there that loads OpenTelemetry's SDK when user code starts its first span.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import context, trace

from goflow.spans import Span, is_branch
from goflow.tracing import attempt_span, branch_span, trace_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from goflow.message import Task
    from goflow.plan import Plan

#: seconds a node waits at most for the teller to take a span
_PATIENCE: Final = 1.0
#: bytes of one datagram; a longer span is sent without its attributes and events
_LONGEST: Final = 60_000

_encode: Final = msgspec.msgpack.Encoder().encode


#: takes a span that is finished; never raises
Send = Callable[[Span], None]


class Sender:
    """Sends spans to the teller at a path. What cannot be sent is dropped: a node never fails of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def send(self, span: Span) -> None:
        """Send one."""
        with suppress(OSError, TypeError):
            packed = _encode(span)
            if len(packed) > _LONGEST:
                shorter = msgspec.structs.replace(span, attributes={}, events=(), links=())
                packed = _encode(shorter)
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(_PATIENCE)
                self._socket.connect(self._path)
            self._socket.send(packed)


class UserSpans:
    """What a process does for the spans of its tasks; `send` gets each that is finished."""

    def __init__(self, send: Send) -> None:
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(_Provider(send))
        self._run_id, self._trace = "", trace_of("", {})

    @contextmanager
    def within(self, plan: Plan, task: Task) -> Iterator[None]:
        """The block is a task's: its spans go below the task's own."""
        if task.run_id != self._run_id:  # tasks of one run follow one another
            self._run_id, self._trace = task.run_id, trace_of(task.run_id, task.headers)
        told = self._trace
        if is_branch(plan, task.path):
            id = branch_span(task.run_id, task.path, task.round)
        else:
            id = attempt_span(task.run_id, task.path, task.token)
        flags = trace.TraceFlags(told.sampled)
        state = task.headers.get("tracestate")
        current = trace.SpanContext(
            told.id,
            id,
            is_remote=True,
            trace_flags=flags,
            trace_state=trace.TraceState.from_header([state]) if state else None,
        )
        above = trace.set_span_in_context(trace.NonRecordingSpan(current), context.Context())
        token = context.attach(above)
        try:
            yield
        finally:
            context.detach(token)


class _Provider(trace.TracerProvider):
    """Loads the SDK when the first tracer is asked for, which is when user code starts its first span."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._made: Any = None

    def get_tracer(self, *args: Any, **more: Any) -> trace.Tracer:
        """A tracer of the SDK's."""
        made: trace.Tracer = self._real().get_tracer(*args, **more)
        return made

    def __getattr__(self, name: str) -> Any:
        """Whatever else the SDK's provider can do, such as `add_span_processor`."""
        return getattr(self._real(), name)

    def _real(self) -> Any:
        if self._made is None:
            self._made = _provider(self._send)
        return self._made


def _provider(send: Send) -> Any:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Drawn(IdGenerator):
        """Ids that are never the same, though nodes may seed `random` alike."""

        def generate_span_id(self) -> int:
            return int.from_bytes(os.urandom(8), "big") or 1

        def generate_trace_id(self) -> int:
            return int.from_bytes(os.urandom(16), "big") or 1

    class ToTeller(SpanProcessor):
        """Sends what is finished."""

        def on_end(self, span: ReadableSpan) -> None:
            if span.context is not None and span.context.trace_flags.sampled:
                send(_plain(span))

    provider = TracerProvider(id_generator=Drawn(), shutdown_on_exit=False)
    provider.add_span_processor(ToTeller())
    return provider


def _plain(span: ReadableSpan) -> Span:
    """A span as it travels."""
    made = span.context
    assert made is not None
    scope = span.instrumentation_scope
    return Span(
        name=span.name,
        trace=made.trace_id.to_bytes(16, "big"),
        id=made.span_id.to_bytes(8, "big"),
        parent=span.parent.span_id.to_bytes(8, "big") if span.parent else b"",
        start=span.start_time or 0,
        end=span.end_time or 0,
        attributes=dict(span.attributes or {}),
        kind=span.kind.value,
        status=span.status.status_code.value,
        description=span.status.description,
        scope=(scope.name, scope.version or "") if scope is not None else ("", ""),
        state=made.trace_state.to_header(),
        events=tuple(
            (each.name, each.timestamp, dict(each.attributes or {})) for each in span.events
        ),
        links=tuple(
            (
                each.context.trace_id.to_bytes(16, "big"),
                each.context.span_id.to_bytes(8, "big"),
                dict(each.attributes or {}),
            )
            for each in span.links
        ),
    )
