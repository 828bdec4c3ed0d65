"""Where spans go: to a collector over HTTP, as the standard OTEL_EXPORTER_OTLP_* variables say, or to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from goflow.errors import ConfigError
from goflow.spans import Span

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from goflow.config import Config

#: told of each span that cannot be exported, and why
Refused = Callable[[Span, Exception], None]

#: what is prefixed to the variables, the more specific first
_TRACES: Final = "OTEL_EXPORTER_OTLP_TRACES_"
_ALL: Final = "OTEL_EXPORTER_OTLP_"
#: seconds a collector has to answer, and where it is, when nothing says otherwise
_PATIENCE: Final = 10.0
_ENDPOINT: Final = "http://localhost:4318"


class Exporter(Protocol):
    """Takes spans, a batch at a time."""

    def export(self, spans: Sequence[Span], refused: Refused) -> str:
        """Why the batch was not taken; "" where it was."""
        ...


def exporter(config: Config) -> Exporter:
    """The one that `telemetry.traces` names. Raises ConfigError for settings that cannot hold."""
    if config.telemetry.traces == "console":
        return Console()
    return Collector(config.telemetry.endpoint)


class Collector:
    """Posts OTLP to a collector. Nothing is tried again here: the teller does, with what is in the store."""

    def __init__(self, endpoint: str, environ: Mapping[str, str] = os.environ) -> None:
        """`endpoint` goes before what the variables say; `/v1/traces` is added where it is missing."""
        self._settings = environ
        self._url = self._where(endpoint.rstrip("/"))
        self._squeeze = self._compression()
        self._timeout = self._seconds()
        self._opener = self._make_opener()
        self._about = dict(resource().attributes)
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": "goflow",
            **({"Content-Encoding": self._squeeze} if self._squeeze else {}),
            **self._given_headers(),
        }

    def export(self, spans: Sequence[Span], refused: Refused) -> str:
        """Post them as one message."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        from goflow.otlp import request

        body = self._packed(request(spans, self._about, refused))
        try:
            post = Request(self._url, body, self._headers, method="POST")
            with self._opener.open(post, timeout=self._timeout) as answer:
                answer.read()
                return ""
        except HTTPError as error:
            error.close()
            return f"{self._url} answers {error.code}"
        except URLError as error:
            return f"{self._url}: {error.reason}"
        except (OSError, HTTPException) as error:
            return f"{self._url}: {error or type(error).__name__}"

    # -- settings ---------------------------------------------------------------------------------

    def _variable(self, name: str) -> str:
        """What the variable for traces says, else the one for everything."""
        for prefix in (_TRACES, _ALL):
            if value := self._settings.get(prefix + name, "").strip():
                return value
        return ""

    def _where(self, endpoint: str) -> str:
        path = "/v1/traces"
        if not endpoint:
            exactly = self._settings.get(f"{_TRACES}ENDPOINT", "").strip()
            if exactly:
                endpoint, path = exactly, ""
            else:
                endpoint = self._settings.get(f"{_ALL}ENDPOINT", "").strip() or _ENDPOINT
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"telemetry.endpoint: {endpoint} is no http:// or https:// URL of a collector"
            )
        endpoint = endpoint if not path else endpoint.rstrip("/")
        return endpoint if endpoint.endswith(path) else endpoint + path

    def _compression(self) -> str:
        name = self._variable("COMPRESSION").lower()
        if name not in ("", "none", "gzip", "deflate"):
            raise ConfigError(f"{_ALL}COMPRESSION={name}: expected none, gzip or deflate")
        return "" if name == "none" else name

    def _seconds(self) -> float:
        given = self._variable("TIMEOUT")
        try:
            return float(given) if given else _PATIENCE
        except ValueError:
            raise ConfigError(f"{_ALL}TIMEOUT={given}: expected seconds") from None

    def _given_headers(self) -> Mapping[str, str]:
        from opentelemetry.util.re import parse_env_headers

        return parse_env_headers(self._variable("HEADERS"), liberal=True)

    def _make_opener(self) -> OpenerDirector:
        """Proxies are those of the environment. Redirects are not followed: spans go where somebody said."""
        from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

        class Stay(HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        if not self._url.startswith("https://"):
            return build_opener(Stay())
        import ssl

        try:
            context = ssl.create_default_context(cafile=self._variable("CERTIFICATE") or None)
            if own := self._variable("CLIENT_CERTIFICATE"):
                context.load_cert_chain(own, self._variable("CLIENT_KEY") or None)
        except OSError as error:  # ssl's errors are among them
            raise ConfigError(f"{_ALL}*CERTIFICATE, CLIENT_KEY: {error}") from None
        return build_opener(Stay(), HTTPSHandler(context=context))

    def _packed(self, body: bytes) -> bytes:
        if not self._squeeze:
            return body
        import gzip
        import zlib

        return gzip.compress(body, 6) if self._squeeze == "gzip" else zlib.compress(body)


class Console:
    """Writes OpenTelemetry's JSON of each span to stderr: stdout belongs to results."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        self._exporter = ConsoleSpanExporter(out=sys.stderr)
        self._resource = resource()

    def export(self, spans: Sequence[Span], refused: Refused) -> str:
        """Write them."""
        made: list[ReadableSpan] = []
        for each in spans:
            try:
                made.append(readable(each, self._resource))
            except Exception as error:  # noqa: BLE001 - user code's spans hold anything
                refused(each, error)
        self._exporter.export(made)
        return ""


def resource() -> Resource:
    """Who tells: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else the service `goflow`."""
    from opentelemetry.sdk.resources import Resource

    named = Resource.create({})
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        named = named.merge(Resource({"service.name": "goflow"}))
    return named


def readable(span: Span, about: Resource) -> ReadableSpan:
    """The span as OpenTelemetry's SDK has it."""
    from opentelemetry import trace
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    state = trace.TraceState.from_header([span.state]) if span.state else None
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)

    def context(of: bytes, id: bytes, *, remote: bool) -> trace.SpanContext:
        numbers = int.from_bytes(of, "big"), int.from_bytes(id, "big")
        return trace.SpanContext(*numbers, remote, sampled, state)

    if span.error:
        status = trace.Status(trace.StatusCode.ERROR)
    else:
        status = trace.Status(trace.StatusCode(span.status), span.description)
    return sdk.ReadableSpan(
        name=span.name,
        context=context(span.trace, span.id, remote=False),
        parent=context(span.trace, span.parent, remote=True) if span.parent else None,
        resource=about,
        attributes=span.attributes | ({"error.type": span.error} if span.error else {}),
        events=[sdk.Event(name, about, at) for name, at, about in span.events],
        links=[trace.Link(context(of, id, remote=True), about) for of, id, about in span.links],
        kind=trace.SpanKind(span.kind),
        status=status,
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=InstrumentationScope(*span.scope),
    )
