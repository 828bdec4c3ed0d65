"""A run's waterfall as lines for a terminal of 60 columns or more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

from goflow.backend import Run
from goflow.drawing.look import BOLD, DIM, LOOKS, RED, Line
from goflow.drawing.text import clean, cut, cut_middle, duration, width, wrap
from goflow.pieces import Piece
from goflow.state import NodeState
from goflow.unnested import Walk, flattened
from goflow.waterfall import Bar, Spread, Waterfall
from goflow_cli.views.drawing import Screen

#: columns of the longest name, as a share of the screen and at most
NAMES: Final = (3, 40)
#: columns that a name is indented by at most
DEEPEST: Final = 20
#: what stands for each kind of piece, with and without Unicode
_SIGNS: Final = {
    "waited": ("░", "."),
    "ran": ("█", "#"),
    "failed": ("▓", "x"),
    "lost": ("▚", "!"),
    "open": ("─", "-"),
    "gap": ("┆", ":"),
}


def page(run: Run, fall: Waterfall, seen: Screen) -> list[Line]:
    """The heading, a bar for each node, and what the signs mean."""
    return _Page(run, fall, seen).lines()


class _Page:
    def __init__(self, run: Run, fall: Waterfall, seen: Screen) -> None:
        self._run = run
        self._fall = fall
        self._seen = seen
        most = min(seen.width // NAMES[0], NAMES[1])
        self._rows = [(self._name(name, bar), bar) for name, bar in in_tree(fall.bars)]
        self._names = min(most, max(width(name) for name, _ in self._rows))
        self._head = "waited + ran" if any(map(_waited, fall.bars)) else "ran"
        self._told = max(len(self._head), *(width(_times(bar)) for bar in fall.bars))
        self._columns = max(10, seen.width - self._names - self._told - 5)
        self._breaks = len(fall.gaps)
        self._scale = (self._columns - self._breaks) / max(fall.took, 1e-6)

    def lines(self) -> list[Line]:
        fall, run = self._fall, self._run
        rounds = f" in {run.round} rounds" if run.round > 1 else ""
        head = f"  {run.id}  {run.state}  {duration(fall.took)}{rounds}"
        lines: list[Line] = [
            [(run.flow, BOLD), (cut(head, max(1, self._seen.width - width(run.flow))), "")],
            self._ruler(),
        ]
        for name, bar in self._rows:
            lines += self._row(name, bar)
        return [*lines, [], *self._legend()]

    def _row(self, name: str, bar: Bar) -> list[Line]:
        name = cut_middle(name, self._names, "…" if self._seen.unicode else "~")
        line: Line = [
            (name + " " * (self._names - width(name)), BOLD if bar.critical else ""),
            (" * " if bar.critical else "   ", BOLD),
            *self._drawn(bar),
            ("  ", ""),
            (_times(bar), DIM),
        ]
        if bar.runs is None or bar.waits is None:
            return [line]
        spreads = [f"ran {_spread(bar.runs)}", f"waited {_spread(bar.waits)}"]
        if width("  " + ",  ".join(spreads)) <= self._seen.width:
            spreads = [",  ".join(spreads)]
        return [line, *([(f"  {told}", DIM)] for told in spreads)]

    def _drawn(self, bar: Bar) -> Line:
        """The bar's columns, one sign each."""
        signs = [(" ", "")] * self._columns
        for start, _ in self._fall.gaps:
            signs[self._at(start)] = (self._sign("gap"), DIM)
        for piece in sorted(bar.pieces, key=lambda piece: piece.kind != "waited"):
            begin = min(self._at(piece.begin), self._columns - 1)
            end = min(max(self._at(piece.end), begin + (piece.kind != "waited")), self._columns)
            for column in range(begin, end):
                signs[column] = (self._sign(piece.kind), _sgr(piece, bar))
        return [
            ("".join(sign for sign, _ in alike), sgr)
            for sgr, alike in groupby(signs, key=lambda sign: sign[1])
        ]

    def _at(self, moment: float) -> int:
        """The column of a moment; gaps take one each."""
        passed, before = moment - self._fall.begin, 0
        for start, stop in self._fall.gaps:
            if moment > start:
                passed -= min(moment, stop) - start
                before += moment >= stop
        return min(round(max(passed, 0.0) * self._scale) + before, self._columns - 1 + (passed > 0))

    def _sign(self, kind: str) -> str:
        return _SIGNS[kind][0 if self._seen.unicode else 1]

    def _name(self, name: str, bar: Bar) -> str:
        many = f" x{bar.count}" if bar.count > 1 else ""
        bare = name.lstrip(" ")
        return name[: -len(bare)] + clean(bare, self._seen.unicode) + many

    def _ruler(self) -> Line:
        """The beginning and the end of the time line, and what the figures beside it are."""
        right = duration(self._fall.took)
        space = " " * max(1, self._columns - 1 - len(right))
        return [(" " * (self._names + 3) + "0" + space + right + "  " + self._head, DIM)]

    def _legend(self) -> list[Line]:
        fall = self._fall
        other = max(0.0, fall.took - fall.queued - fall.ran - fall.lost)
        lost = f"{duration(fall.lost)} lost with {self._lost_with()}, " if fall.lost else ""
        parts = [
            f"* critical path: {duration(fall.ran)} running, {duration(fall.queued)} waiting for a"
            f" worker, {lost}{duration(other)} in between (items that wait their turn, retry delays,"
            " branches)",
        ]
        kinds = {piece.kind for bar in fall.bars for piece in bar.pieces}
        signs = [
            f"{self._sign(kind)} {text}"
            for kind, text in (
                ("waited", "waits for a worker"),
                ("ran", "runs"),
                ("failed", "failed attempt"),
                ("lost", "lost with its worker"),
                ("open", "open branch"),
            )
            if kind in kinds
        ]
        if fall.gaps:
            idle = sum(stop - start for start, stop in fall.gaps)
            signs.append(f"{self._sign('gap')} {duration(idle)} between rounds")
        parts.append("   ".join(signs))
        columns = self._seen.width
        return [[(line, DIM)] for part in parts for line in wrap(part.split(" "), columns, columns)]

    def _lost_with(self) -> str:
        """The workers that vanished on the critical path, as people know them."""
        some = [f"worker {name}" if name.isdigit() else name for name in self._fall.lost_with]
        more = f" and {len(some) - 3} more" if len(some) > 3 else ""
        return ", ".join(clean(name, self._seen.unicode) for name in some[:3]) + more


def in_tree(bars: Sequence[Bar]) -> list[tuple[str, Bar]]:
    """The bars with their names, what is in a branch or a sub-DAG below it and by what its path has more: in a
    terminal whole paths leave no room for what tells them apart."""
    known = {bar.path for bar in bars}
    inside: dict[str, list[Bar]] = {}
    for bar in bars:
        inside.setdefault(_around(bar.path, known), []).append(bar)

    def tell(owner: str, depth: int) -> Walk[tuple[str, Bar]]:
        for bar in inside.get(owner, ()):
            yield " " * min(depth, DEEPEST) + bar.path[len(owner) :].removeprefix("/"), bar
            yield tell(bar.path, depth + 2)

    return list(flattened(tell("", 0)))


def _around(path: str, known: Collection[str]) -> str:
    """The nearest branch or sub-DAG around a node that has a bar; "" for none."""
    while path:
        path = path[: path.rindex("[")] if path.endswith("]") else path.rpartition("/")[0]
        if path in known:
            break
    return path


def _sgr(piece: Piece, bar: Bar) -> str:
    if piece.kind in ("waited", "open"):
        return DIM
    if piece.kind in ("failed", "lost"):
        return RED
    return LOOKS[NodeState(bar.state)].sgr if bar.state in set(NodeState) else ""


def _times(bar: Bar) -> str:
    """What it waited and ran, of many instances the medians; and what was lost."""
    waited = f"{duration(bar.queued)} + " if _waited(bar) else ""
    lost = f", {duration(bar.lost)} lost" if bar.lost else ""
    return ("p50 " if bar.count > 1 else "") + waited + duration(bar.ran) + lost


def _waited(bar: Bar) -> bool:
    """Whether it waited so long that it is told."""
    return bar.queued >= 0.0005


def _spread(spread: Spread) -> str:
    return "  ".join(
        f"{name} {duration(getattr(spread, name))}" for name in ("p50", "p90", "p99", "max")
    )
