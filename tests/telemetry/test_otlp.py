"""What a collector is sent is what OpenTelemetry's own exporter would send, and goes where its variables say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from goflow import otlp
from goflow.errors import ConfigError
from goflow.exporting import Collector as Exporter
from goflow.exporting import readable, resource
from goflow.spans import Span
from tests.telemetry.collector import collecting

NS = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ONE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=200)
)
VALUE = st.recursive(
    ONE, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3), max_leaves=6
)
ABOUT = st.dictionaries(TEXT, VALUE, max_size=4)
TRACE = st.binary(min_size=16, max_size=16).filter(any)
ID = st.binary(min_size=8, max_size=8).filter(any)
SCOPE = st.sampled_from([("goflow", ""), ("of the author", "1.2")])

SPANS = st.builds(
    Span,
    name=TEXT,
    trace=TRACE,
    id=ID,
    parent=ID | st.just(b""),
    start=NS,
    end=NS,
    attributes=ABOUT,
    error=st.just("") | TEXT,
    kind=st.integers(0, 4),
    status=st.integers(0, 2),
    description=st.none() | TEXT,
    scope=SCOPE,
    state=st.sampled_from(["", "a=1", "a=1,b=2"]),
    events=st.lists(st.tuples(TEXT, NS, ABOUT), max_size=2).map(tuple),
    links=st.lists(st.tuples(TRACE, ID, ABOUT), max_size=2).map(tuple),
)


def nobody(span: Span, error: Exception) -> None:
    raise AssertionError(f"{span}: {error}")


@settings(max_examples=50, deadline=None)
@given(st.lists(SPANS, max_size=4))
def test_it_is_what_the_sdk_would_send(spans: list[Span]) -> None:
    about = resource()
    ours = ExportTraceServiceRequest.FromString(otlp.request(spans, about.attributes, nobody))
    theirs = encode_spans([readable(each, about) for each in spans])
    assert _by_scope(ours) == _by_scope(theirs)


def _by_scope(message: Any) -> list[str]:
    """Everything of it. The order of attributes is nobody's promise."""
    found = []
    for about in message.resource_spans:
        for scope in about.scope_spans:
            for span in scope.spans:
                span.attributes.sort(key=lambda each: each.key)
                found.append(f"{about.resource}{scope.scope}{span}")
    return found


def test_what_cannot_be_said_is_left_out_and_the_rest_is_sent() -> None:
    fine = Span(name="\ud800", trace=b"t" * 16, id=b"i" * 8, parent=b"", start=1, end=2)
    late = Span(name="late", trace=b"t" * 16, id=b"j" * 8, parent=b"", start=1, end=2**64)
    short = Span(name="short", trace=b"t", id=b"k" * 8, parent=b"", start=1, end=2)
    large = Span(
        name="n",
        trace=b"t" * 16,
        id=b"l" * 8,
        parent=b"",
        start=1,
        end=2,
        attributes={"large": 2**63, "one": 1},
    )
    refused: list[str] = []
    body = otlp.request(
        [fine, late, short, large], {}, lambda span, error: refused.append(span.name)
    )
    assert refused == ["late", "short"]
    (scope,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans
    assert [span.name for span in scope.spans] == ["?", "n"]
    assert [each.key for each in scope.spans[1].attributes] == ["one"]


@pytest.mark.parametrize(
    ("endpoint", "variables", "url"),
    [
        ("", {}, "http://localhost:4318/v1/traces"),
        ("http://c:1", {}, "http://c:1/v1/traces"),
        ("http://c:1/v1/traces/", {}, "http://c:1/v1/traces"),
        ("http://c:1", {"ENDPOINT": "http://d:2"}, "http://c:1/v1/traces"),
        ("", {"ENDPOINT": "https://d:2/base/"}, "https://d:2/base/v1/traces"),
        ("", {"TRACES_ENDPOINT": "http://e:3/x", "ENDPOINT": "http://d:2"}, "http://e:3/x"),
    ],
)
def test_spans_go_where_the_standard_says(
    endpoint: str, variables: dict[str, str], url: str
) -> None:
    named = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()}
    assert Exporter(endpoint, named)._url == url


@pytest.mark.parametrize(
    ("endpoint", "name", "value", "told"),
    [
        ("localhost:4318", "HEADERS", "", "localhost:4318 is no http:// or https:// URL"),
        ("", "COMPRESSION", "zstd", "expected none, gzip or deflate"),
        ("", "TIMEOUT", "soon", "expected seconds"),
        ("https://c", "CERTIFICATE", "/nowhere.pem", "CERTIFICATE"),
    ],
)
def test_settings_that_cannot_hold_are_refused(
    endpoint: str, name: str, value: str, told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Exporter(endpoint, {f"OTEL_EXPORTER_OTLP_{name}": value})
    assert told in str(refused.value)


def test_headers_and_compression_are_as_the_variables_say() -> None:
    span = Span(name="n", trace=b"t" * 16, id=b"i" * 8, parent=b"", start=1, end=2)
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "deflate",
    }
    with collecting() as collector:
        assert Exporter(collector.url, variables).export([span], nobody) == ""
        (headers,) = collector.headers
        assert headers["x-tenant"] == "a b"
        assert headers["content-encoding"] == "deflate"
        assert collector.named("n")
        collector.away = True
        assert "answers 400" in Exporter(collector.url, variables).export([span], nobody)
    assert "refused" in Exporter("http://127.0.0.1:9", variables).export([span], nobody)
