"""Configuration (goflow.toml, environment, defaults)."""

from __future__ import annotations

import msgspec


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """[local]: where the embedded store rests and how durable it is."""

    path: str = ".goflow"
    sync: str = "normal"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of goflow.toml with defaults filled in."""

    local: Local = msgspec.field(default_factory=Local)
