"""Trace contexts: which trace a run belongs to, what its spans are called by, and whether they are told.

Ids are derived, not drawn. A run's trace comes from the W3C `traceparent` it was submitted with, else from its
run id; an attempt's span from the token it is held under. So processes on many machines make parts of one trace
without talking to each other, and nothing beyond that header has to travel. Nothing here imports
OpenTelemetry: whoever has it may look (`caller`), and who has not pays nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

from goflow.errors import ConfigError, nearest

#: what OTEL_TRACES_SAMPLER may name, each also with `parentbased_` before it
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_BY_PARENT: Final = "parentbased_"


class Trace(NamedTuple):
    """A run's place among traces. `parent` is the caller's span, 0 where there is none; an unsampled trace
    is not told, and neither is anything that user code adds to it."""

    id: int
    root: int
    parent: int
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The W3C header that makes something a child of the run."""
        return f"00-{self.id:032x}-{self.root:016x}-{self.sampled:02x}"


def trace_of(run_id: str, headers: dict[str, str]) -> Trace:
    """The trace of a run that was submitted with these headers.

    A valid W3C `traceparent` (https://www.w3.org/TR/trace-context/) continues its caller's trace, and is
    asked whether that is sampled; OTEL_TRACES_SAMPLER decides as it does for any program.
    """
    root = number(f"root {run_id}", 8)
    given = _parsed(headers.get("traceparent", ""))
    if given is not None:
        trace, parent, flags = given
        return Trace(trace, root, parent, _sampled(trace, bool(flags & 1)))
    trace = number(f"trace {run_id}", 16)
    return Trace(trace, root, 0, _sampled(trace, None))


def attempt_span(run_id: str, path: str, token: str) -> int:
    """The id of the span of the attempt that was held under this token."""
    return number(f"{run_id} {path} {token}", 8)


def branch_span(run_id: str, path: str, round: int) -> int:
    """The id of the span of a branch or sub-DAG, which covers its opening, its scopes and its closing. `round`
    is the one that gave the instance its `idempotency_key`."""
    return number(f"{run_id} {path} branch {round}", 8)


def caller() -> dict[str, str]:
    """The headers that continue whatever span this process is in: OpenTelemetry's current one where the program
    has loaded it, else what TRACEPARENT and TRACESTATE in the environment say."""
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace import INVALID_SPAN, get_current_span

        if get_current_span() is not INVALID_SPAN:  # mostly it is: redis-py loads OpenTelemetry
            carrier = _injected()
            if carrier:
                return carrier
    parent = os.environ.get("TRACEPARENT")
    if not parent:
        return {}
    state = os.environ.get("TRACESTATE")
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}


def _injected() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def check_sampler() -> None:
    """Refuse a sampler we do not have. Raises ConfigError."""
    known = [prefix + name for prefix in ("", _BY_PARENT) for name in _SAMPLERS]
    name = _sampler()
    if name not in known:
        raise ConfigError(
            f"OTEL_TRACES_SAMPLER={name}: expected one of {', '.join(known)}{nearest(name, known)}"
        )


def number(text: str, size: int) -> int:
    """A non-zero number of `size` bytes from a text."""
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1


def _parsed(header: str) -> tuple[int, int, int] | None:
    parts = header.strip().split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2]:
        return None
    if parts[0] == "ff" or (parts[0] == "00" and len(parts) > 4):
        return None
    if not set("".join(parts[:4])) <= set("0123456789abcdef"):
        return None
    trace, parent, flags = (int(part, 16) for part in parts[1:4])
    return (trace, parent, flags) if trace and parent else None


def _sampler() -> str:
    default = f"{_BY_PARENT}always_on"
    return os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or default


def _sampled(trace: int, parent: bool | None) -> bool:
    """What OpenTelemetry's own samplers answer, without loading its SDK."""
    name = _sampler()
    if name.startswith(_BY_PARENT) and parent is not None:
        return parent
    name = name.removeprefix(_BY_PARENT)
    if name != "traceidratio":
        return name != "always_off"
    try:
        ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    except ValueError:
        ratio = 1.0
    return trace & (1 << 64) - 1 < round(ratio * (1 << 64))
