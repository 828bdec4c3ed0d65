"""Query parameters, read strictly: a wrong one is told, not guessed at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.requests import Request

from goflow.server.errors import bad


def query(request: Request) -> dict[str, list[str]]:
    """All query parameters, in order, with those that have no value."""
    found: dict[str, list[str]] = {}
    if not request.scope["query_string"]:
        return found
    text = request.scope["query_string"].decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise bad("more than 1000 query parameters") from None
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def only(request: Request, allowed: Iterable[str]) -> dict[str, str]:
    """The parameters of a route that knows which it takes. Raises HttpError for others, and repeated ones."""
    from goflow.errors import nearest

    given = query(request)
    names = list(allowed)
    for name, values in given.items():
        if name not in names:
            raise bad(f"no parameter {name[:100]!r} here{nearest(name, names)}")
        if len(values) > 1:
            raise bad(f"parameter {name!r} is given {len(values)} times")
    return {name: values[0] for name, values in given.items()}


def seconds(text: str, name: str = "wait") -> float:
    """A time of 0 s or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or "_" in text:
        raise bad(f"{name}: expected seconds, 0 or more, got {text[:100]!r}")
    return value


def whole(text: str | None, name: str, default: int, low: int, high: int) -> int:
    """A whole number within bounds."""
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 19 and low <= int(text) <= high:
        return int(text)
    raise bad(f"{name}: expected a whole number, {low} to {high}, got {text[:100]!r}")


def flag(text: str | None, name: str) -> bool:
    """`true` or `false`; absent means false, and so given without a value means true."""
    if text is None or text == "false":
        return False
    if text in ("", "true"):
        return True
    raise bad(f"{name}: expected true or false, got {text[:100]!r}")
