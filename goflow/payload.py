"""Payload: bytes plus a media type, and the rules by which Python values become one and back.

What a function declares is what it gets (SPEC 2, Functions). `bytes` is as it came, `str` is decoded,
anything else is decoded from JSON and validated by msgspec (dataclasses, TypedDicts, Structs, attrs,
generics) or by the class itself where it has pydantic's `model_validate_json`. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from goflow.errors import PayloadError

OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain"
JSON: Final = "application/json"

#: how much of a payload an error message shows, in characters
_EXCERPT = 60


class Payload(msgspec.Struct, frozen=True, array_like=True):
    """What an edge carries.

    `data` are the bytes, `media_type` one of `application/octet-stream`, `text/plain` and
    `application/json`.

    >>> Payload(b'{"a": 1}', "application/json").json()
    {'a': 1}
    """

    data: bytes = b""
    media_type: str = OCTETS

    def text(self) -> str:
        """The bytes as UTF-8 text. Raises PayloadError where they are not."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(f"expected UTF-8 text, got {excerpt(self.data)}: {error}") from None

    def json(self) -> Any:
        """The bytes parsed as JSON. Raises PayloadError where they are none."""
        return decode(self, Any)


EMPTY: Final = Payload()


def within(payload: Payload, limit: int, what: str) -> Payload:
    """The payload, if it has at most `limit` bytes. Raises PayloadError naming `what` it is."""
    if len(payload.data) > limit:
        raise PayloadError(
            f"{what} has {len(payload.data)} bytes, payload.max_size allows {limit}:"
            " hand on a reference (a path, a URL, a key) instead, or raise the limit"
        )
    return payload


def known(payload: Payload) -> Payload:
    """The payload, if its media type is one of the three: stores have others, for themselves alone."""
    if payload.media_type not in (OCTETS, TEXT, JSON):
        raise PayloadError(
            f"the media type of a payload is {OCTETS}, {TEXT} or {JSON}, got {payload.media_type!r:.80}"
        )
    return payload


def of_input(data: object) -> Payload:
    """The payload of what a caller hands in: bytes, text, None, a Payload or a JSON-able value.

    Bytes that are UTF-8 stay octets here: only a command line or a Content-Type says "text".
    """
    return encode(data)


def sniff(data: bytes) -> Payload:
    """The payload of bytes of unknown type: text where they are UTF-8, else octets."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return Payload(data, OCTETS)
    return Payload(data, TEXT if data else OCTETS)


def encode(value: object) -> Payload:
    """What a function returned, as a payload.

    Raises PayloadError for what JSON cannot carry (functions, NaN, lone surrogates, loops) and for a
    Payload of any other than the three media types.

    >>> encode({"a": [1, 2]}).data
    b'{"a":[1,2]}'
    """
    if isinstance(value, bytes):
        return Payload(value, OCTETS)
    if isinstance(value, str):
        return Payload(_utf8(value), TEXT)
    if value is None:
        return EMPTY
    if isinstance(value, Payload):
        return known(value)
    if isinstance(value, bytearray | memoryview):
        return Payload(bytes(value), OCTETS)
    return Payload(dumps(value), JSON)


def dumps(value: object) -> bytes:
    """Compact JSON. The standard encoder, not msgspec's: that one turns NaN into null silently."""
    try:
        text = json.dumps(
            value,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
            default=_to_builtins,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(
            f"cannot encode {_type_name(value)} as JSON ({_brief(error)});"
            " return bytes, str, None or something JSON can carry"
        ) from None
    return _utf8(text)


def decode(payload: Payload, annotation: Any) -> Any:
    """The payload as a function wants it. `annotation` is a type, or `bytes` where none was given.

    Raises PayloadError naming the expected type and an excerpt of what came.

    >>> decode(Payload(b"[1, 2]"), list[int])
    [1, 2]
    """
    return decoder(annotation)(payload)


def decoder(annotation: Any) -> Callable[[Payload], Any]:
    """What turns payloads into this type; made once for a function that is called often.

    Raises PayloadError for a type nothing can be decoded into, as what it returns does for data that
    does not fit.
    """
    if annotation is bytes:
        return _data
    if annotation is str:
        return Payload.text
    if annotation is Payload:
        return _itself
    validate = getattr(annotation, "model_validate_json", None)
    if validate is None:
        try:
            validate = msgspec.json.Decoder(annotation, dec_hook=_from_builtins).decode
        except (TypeError, NameError) as error:
            raise PayloadError(f"cannot decode into {type_text(annotation)}: {error}") from None

    def parse(payload: Payload) -> Any:
        try:
            return validate(payload.data)
        except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
            wanted = "JSON" if annotation is Any else f"{type_text(annotation)} as JSON"
            raise PayloadError(f"expected {wanted}, got {excerpt(payload.data)}: {error}") from None

    return parse


def as_json_value(payload: Payload) -> bytes | None:
    """The payload as one JSON value inside a join (SPEC 2, Joins); None where it is not UTF-8."""
    if payload.media_type == JSON and payload.data:
        try:
            msgspec.json.decode(payload.data, type=msgspec.Raw)
            payload.data.decode()  # msgspec skips texts without looking into them
        except (ValueError, RecursionError):
            pass  # a caller said JSON and sent none: it joins as the text it is
        else:
            return payload.data
    if not payload.data and payload.media_type != TEXT:
        return b"null"
    try:
        return json.dumps(payload.data.decode(), ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return None


def join_object(parts: Iterable[tuple[str, Payload]], advice: str) -> Payload:
    """A JSON object of named payloads, in order. `advice` completes the error for raw bytes."""
    members = []
    for name, payload in parts:
        value = as_json_value(payload)
        if value is None:
            raise PayloadError(f"{name!r} yields bytes that are not UTF-8: {advice}")
        members.append(json.dumps(name, ensure_ascii=False).encode() + b":" + value)
    return Payload(b"{" + b",".join(members) + b"}", JSON)


def join_list(parts: Iterable[tuple[str, Payload]], advice: str) -> Payload:
    """A JSON list of payloads, in order."""
    values = []
    for name, payload in parts:
        value = as_json_value(payload)
        if value is None:
            raise PayloadError(f"item {name} yields bytes that are not UTF-8: {advice}")
        values.append(value)
    return Payload(b"[" + b",".join(values) + b"]", JSON)


def excerpt(data: bytes) -> str:
    """The beginning of some bytes, printable, for an error message."""
    if not data:
        return "an empty payload"
    text = data[: 4 * _EXCERPT].decode(errors="backslashreplace")
    text = "".join(c if c.isprintable() else "." for c in text)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}... ({len(data)} bytes)"


def type_text(annotation: Any) -> str:
    """A type as its author wrote it: `int`, `dict[str, float]`, `Order`."""
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _data(payload: Payload) -> bytes:
    return payload.data


def _itself(payload: Payload) -> Payload:
    return payload


def _from_builtins(kind: type, value: object) -> object:
    """A pydantic model (or whatever validates as one) inside a list, a dict or a dataclass."""
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"JSON does not become a {type_text(kind)}")
    return validate(value)


def _to_builtins(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    return msgspec.to_builtins(value)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"cannot encode text as UTF-8: {_brief(error)}") from None


def _type_name(value: object) -> str:
    return type(value).__qualname__


def _brief(error: BaseException) -> str:
    return str(error)[:200]
