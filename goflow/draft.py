"""Drafts: nodes and edges while an author draws them, and what can be wrong with each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from goflow.function import Function
from goflow.plan import Kind

if TYPE_CHECKING:
    from goflow.drawn import Drawn

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE: Final = "letters, digits, '.', '_' and '-', at most 64, the first a letter or digit"
#: the longest foreach or condition key, in UTF-8 bytes
MAX_KEY: Final = 256
KEY_RULE: Final = f"text of 1 to {MAX_KEY} bytes in UTF-8, or a whole number"


class Functions(NamedTuple):
    """The functions of one node. `choose` is a branch's condition or foreach."""

    works: tuple[Function, ...] = ()
    aggregator: Function | None = None
    on_failure: Function | None = None
    choose: Function | None = None
    forwarders: Mapping[str, Function] = {}


class Draft:
    """A node while it is being drawn."""

    __slots__ = (
        "at",
        "branch_only",
        "dags",
        "functions",
        "kind",
        "max_parallel",
        "name",
        "options",
        "works",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        at: str,
        options: Mapping[str, Any] | None = None,
        branch_only: bool = False,
    ) -> None:
        self.name = name
        self.kind: Kind = kind
        self.at = at
        self.options = dict(options or {})
        self.branch_only = branch_only
        self.max_parallel: int | None = None
        self.works: list[Function] = []
        self.functions: dict[str, Function] = {}
        self.dags: dict[str, Drawn] = {}

    @property
    def label(self) -> str:
        return {
            "node": "node",
            "sub_dag": "sub-DAG",
            "conditional": "conditional branch",
            "foreach": "foreach branch",
        }[self.kind]


class EdgeDraft(NamedTuple):
    source: str
    target: str
    forwarder: Function | None
    execution_only: bool
    at: str


DEFAULTS: Final = {
    "retries": 0,
    "retry_delay": 1.0,
    "retry_backoff": 2.0,
    "timeout": None,
    "on_worker_lost": "retry",
}


def option_problems(draft: Draft) -> list[str]:
    options = draft.options
    rules: list[tuple[str, bool, str]] = [
        (
            "retries",
            is_whole(options["retries"]) and options["retries"] >= 0,
            "a whole number >= 0",
        ),
        ("retry_delay", _at_least(options["retry_delay"], 0), "seconds >= 0"),
        ("retry_backoff", _at_least(options["retry_backoff"], 1), "a factor >= 1"),
        (
            "timeout",
            options["timeout"] is None
            or (_at_least(options["timeout"], 0) and options["timeout"] > 0),
            "seconds > 0, or None",
        ),
        ("on_worker_lost", options["on_worker_lost"] in ("retry", "fail"), '"retry" or "fail"'),
    ]
    found = []
    for option, fine, expected in rules:
        if not fine:
            got = options[option]
            found.append(
                f"node {draft.name!r} ({draft.at}): {option} must be {expected}, got {got!r}"
            )
            options[option] = DEFAULTS[option]
    for option in ("retry_delay", "retry_backoff", "timeout"):
        if options[option] is not None:
            options[option] = float(options[option])
    return found


def key_text(key: object) -> str | None:
    """A condition or foreach key as text; None where it cannot be one (`KEY_RULE`).

    Members of string and integer enums count as their values.
    """
    if isinstance(key, str):
        text = str.__str__(key)
    elif isinstance(key, int):
        text = str(key) if isinstance(key, bool) else int.__repr__(key)
    else:
        return None
    try:
        return text if 1 <= len(text.encode()) <= MAX_KEY else None
    except UnicodeEncodeError:  # a lone surrogate
        return None


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(value: object, least: float) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value < float("inf")
    )


#: how many names of a long line of them are told, at its beginning and at its end
_SHOWN: Final = 10


def folded(names: list[str]) -> list[str]:
    """A line of names, its middle left out where it is long."""
    left_out = len(names) - 2 * _SHOWN
    if left_out <= 1:
        return names
    return [*names[:_SHOWN], f"... ({left_out} more) ...", *names[-_SHOWN:]]


def cycles(edges: Iterable[tuple[str, str]], names: Iterable[str]) -> list[str]:
    """One sentence for each cycle met by a depth-first walk (iterative: DAGs may be deep)."""
    after: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        after[source].append(target)
    found, done = [], set()
    for start in after:
        path: list[str] = []
        on_path: set[str] = set()
        stack = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                on_path.discard(path.pop())
                done.add(name)
            elif name in on_path:
                cycle = [*path[path.index(name) :], name]
                found.append(f"cycle: {' -> '.join(folded(cycle))}; remove one of these edges")
            elif name not in done:
                path.append(name)
                on_path.add(name)
                stack.append((name, True))
                stack += [(other, False) for other in reversed(after[name])]
    return found
