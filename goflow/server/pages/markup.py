"""HTML as nested calls: everything is escaped unless it was made here.

>>> str(tag("p", "1 < 2", title="a & b"))
'<p title="a &amp; b">1 &lt; 2</p>'
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

#: elements without an end tag
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already. Made by `tag` and `join` alone."""

    __slots__ = ()


Child = Markup | str | int | float | Iterable["Child"] | None
Value = str | int | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element. `class_` means class, `data_x` data-x; True an attribute without value, False and None
    leave it out."""
    told = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(_told(child) for child in children))


def _told(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int | float):
        return escape(_plain(str(child)))
    return "".join(_told(each) for each in child)


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(_plain(str(value)))}"'


def _plain(text: str) -> str:
    """Without what no HTML document may hold: control characters and lone surrogates."""
    if text.isprintable():
        return text
    return "".join(
        c
        if c in "\n\t" or (c >= " " and not "\x7f" <= c < "\xa0" and not "\ud800" <= c < "\ue000")
        else "\ufffd"
        for c in text
    )
