"""OTLP: the bytes that a collector is sent for a batch of spans, an `ExportTraceServiceRequest`.

Written field by field, since that costs a quarter of building the SDK's spans and protobuf's messages of them
first: traces are paid for in what a worker has left. tests/telemetry/test_otlp.py holds the bytes
against the SDK's own encoder. The field numbers are those of opentelemetry/proto/trace/v1/trace.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from struct import Struct, error
from typing import Any, Final

from goflow.spans import Span

#: `flags`: that it is known whether the parent is another process's, and that it is
_KNOWN: Final = 0x100
_REMOTE: Final = 0x200
#: `status` of what failed, as an encoded field
_FAILED: Final = b"\x7a\x02\x18\x02"


def request(
    spans: Iterable[Span],
    resource: Mapping[str, Any],
    refused: Callable[[Span, Exception], None],
) -> bytes:
    """The message with all of the spans, but those that cannot be said in it: `refused` is told of each."""
    scopes: dict[tuple[str, str], list[bytes]] = {}
    for each in spans:
        try:
            made = span(each)
        except (ValueError, error) as wrong:
            refused(each, wrong)
        else:
            scopes.setdefault(each.scope, []).append(_field(b"\x12", made))
    about = _field(b"\x0a", _attributes(b"\x0a", resource))
    said = (_field(b"\x12", _scope(*scope) + b"".join(made)) for scope, made in scopes.items())
    return _field(b"\x0a", about + b"".join(said))


def span(each: Span) -> bytes:
    """A `Span` message. Raises ValueError, struct.error for numbers and ids that are none of a span."""
    if len(each.trace) != 16 or len(each.id) != 8:
        raise ValueError("its ids are none")
    parts = [
        b"\x0a\x10" + each.trace + b"\x12\x08" + each.id,
        _field(b"\x22", each.parent) if each.parent else b"",
        _field(b"\x2a", _text(each.name)),
        # the kinds are numbered from 1 here, from 0 in the SDK
        _times(0x30, each.kind + 1, 0x39, each.start, 0x41, each.end),
        _attributes(b"\x4a", each.attributes),
    ]
    if each.error:
        parts.append(_attribute(b"\x4a", "error.type", each.error))
    if each.state:
        parts.append(_field(b"\x1a", _text(each.state)))
    for name, at, about in each.events:
        event = b"\x09" + _fixed(at) + _field(b"\x12", _text(name)) + _attributes(b"\x1a", about)
        parts.append(_field(b"\x5a", event))
    for of, id, about in each.links:
        link = b"\x0a\x10" + of + b"\x12\x08" + id + _attributes(b"\x22", about)
        parts.append(_field(b"\x6a", link + b"\x35" + _short(_KNOWN | _REMOTE)))
    if each.error:
        parts.append(_FAILED)
    else:  # only an error has a description
        why = _field(b"\x12", _text(each.description or "")) if each.status == 2 else b""
        parts.append(_field(b"\x7a", why + b"\x18" + _varint(each.status)))
    parts.append(b"\x85\x01" + _short(_KNOWN | _REMOTE if each.parent else _KNOWN))
    return b"".join(parts)


def _scope(name: str, version: str) -> bytes:
    said = _field(b"\x0a", _text(name)) if name else b""
    return _field(b"\x0a", said + (_field(b"\x12", _text(version)) if version else b""))


def _attributes(tag: bytes, attributes: Mapping[str, Any]) -> bytes:
    return b"".join([_attribute(tag, key, value) for key, value in attributes.items()])


@lru_cache(maxsize=1024, typed=True)
def _often(tag: bytes, key: str, value: str | int) -> bytes:
    """An attribute that many spans have: a state, a worker, the number of an attempt."""
    return _field(tag, _field(b"\x0a", _text(key)) + _field(b"\x12", _value(value)))


def _attribute(tag: bytes, key: str, value: Any) -> bytes:
    """One attribute as a field; nothing where it cannot be said (a number of more than 64 bits)."""
    kind = type(value)
    try:
        if kind is str or kind is int:
            return _often(tag, key, value)
        return _field(tag, _field(b"\x0a", _text(key)) + _field(b"\x12", _value(value)))
    except (OverflowError, TypeError):
        return b""


def _value(value: Any) -> bytes:
    """An `AnyValue`, without its own tag."""
    if value is None:
        return b""
    if isinstance(value, str):
        return _field(b"\x0a", _text(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(int.from_bytes(value.to_bytes(8, "big", signed=True), "big"))
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, bytes):
        return _field(b"\x3a", value)
    if isinstance(value, Mapping):
        return _field(b"\x32", _attributes(b"\x0a", {str(key): v for key, v in value.items()}))
    if isinstance(value, list | tuple):
        return _field(b"\x2a", b"".join([_field(b"\x0a", _value(each)) for each in value]))
    raise TypeError(f"no attribute can be a {type(value).__name__}")


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return text.encode(errors="replace")


def _field(tag: bytes, body: bytes) -> bytes:
    size = len(body)
    return tag + (_SMALL[size] if size < 128 else _varint(size)) + body


def _varint(number: int) -> bytes:
    said = bytearray()
    while number > 127:
        said.append(number & 127 | 128)
        number >>= 7
    said.append(number)
    return bytes(said)


_SMALL: Final = [bytes([number]) for number in range(128)]
_times: Final = Struct("<BBBQBQ").pack
_fixed: Final = Struct("<Q").pack
_short: Final = Struct("<I").pack
_double: Final = Struct("<d").pack
