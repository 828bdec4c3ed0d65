"""The fields of a request, read once: every layer asks for some, and looking one up in raw headers costs as much
as reading all."""

from __future__ import annotations

from starlette.types import Scope


def fields(scope: Scope) -> dict[str, str]:
    """Header fields by their name in lower case; of a repeated one the first."""
    known: dict[str, str] | None = scope.get("goflow.fields")
    if known is None:
        known = scope["goflow.fields"] = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(scope["headers"])
        }
    return known
