"""A run's nodes as a table with a time line: those of the definition, or the instances of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from goflow.backend import NodeRun, Run
from goflow.errors import UnknownNode
from goflow.overview import NodeSummary, Overview
from goflow.plan import Plan
from goflow.rows import Row, rows
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.parts import cut, duration, link, page_links, place, state, table
from goflow.server.pages.spans import Clock, Span, Tries, bar, clock, critical, span, summed
from goflow.state import NodeState

#: lines of a page
LINES: Final = 100
#: how deep the style sheet indents
_DEEPEST: Final = 6


class Asked(NamedTuple):
    """What the URL asks for: a node to open; which instances to list, and the how manieth page of them."""

    node: str = ""
    state: str = ""
    under: str = ""
    find: str = ""
    page: int = 1

    @property
    def narrowed(self) -> bool:
        """Whether instances are listed rather than the definition's nodes."""
        return bool(self.state or self.under or self.find)

    def link(self, run: Run, **changed: str | int) -> str:
        """This page with something else asked for."""
        asked = self._replace(**{"page": 1, **changed})  # type: ignore[arg-type]
        told = {**asked._asdict(), "page": str(asked.page) if asked.page > 1 else ""}
        return link(f"/ui/run/{run.id}", **told)


class _Line(NamedTuple):
    """A line of the table: `done` how many of its instances are; `opens` says where its name leads."""

    path: str
    state: str
    span: Span | None
    opens: str | None
    tries: int = 0
    error: str | None = None
    done: str = ""
    grouped: bool = False


def nodes_section(
    plan: Plan, run: Run, view: Overview, recorded: Sequence[NodeRun], tries: Tries, asked: Asked
) -> Markup:
    """The whole section: what narrows the list, the list, and its pages."""
    decisive = critical(plan, run, recorded)
    time = clock(run, recorded, view.now)
    if asked.narrowed:
        lines = list(_instances(plan, run, recorded, asked, decisive, time.end, tries))
    else:
        spans = summed(plan, recorded, decisive, time.end, tries)
        lines = list(_definition(plan, run, view, spans, asked, tries))
    first = (asked.page - 1) * LINES
    listed = lines[first : first + LINES]
    where = f"{place(listed, LINES, asked.page, 'nodes')} of {len(lines):,}"
    more = first + LINES < len(lines)
    pages = page_links(where, asked.page, more, lambda page: asked.link(run, page=page) + "#nodes")
    return tag(
        "section",
        tag("h2", "Nodes"),
        _chips(run, view, asked),
        _finder(run, view, asked) if asked.narrowed or len(lines) > LINES else None,
        _table(listed, time, asked),
        pages,
        _legend(listed) if listed else None,
        id="nodes",
        data_live=True,
    )


def _definition(
    plan: Plan, run: Run, view: Overview, spans: dict[str, Span], asked: Asked, tries: Tries
) -> Iterator[_Line]:
    """A line for each node of the definition, instances in a foreach summed up; the handlers last."""
    kinds = {path: node.kind for path, node in plan.walk()}
    for path, node in view.nodes.items():
        grouped = "[]" in path
        if grouped:
            opens: str | None = asked.link(run, under=path, node="") + "#nodes"
        else:
            opens = _opening(run, asked, path) if node.attempt else None
        yield _Line(
            path=path,
            state=str(node.state),
            span=spans.get(path),
            opens=opens,
            tries=len(tries.get(path, ())),
            error=node.error,
            done="" if kinds[path] == "sub_dag" and not grouped else _done(node, grouped=grouped),
            grouped=grouped,
        )
    for each in view.handlers:
        yield _Line(
            path=each.path,
            state=str(each.state),
            span=spans.get(each.path),
            opens=_opening(run, asked, each.path),
            tries=len(tries.get(each.path, ())),
            error=each.error,
        )


def _done(node: NodeSummary, *, grouped: bool) -> str:
    if grouped:
        done = node.counts.get(NodeState.SUCCEEDED, 0)
        return f"{done:,} of {node.instances:,}" if node.instances else ""
    return f"{node.done:,} of {node.width:,}" if node.width is not None else ""


def _instances(
    plan: Plan,
    run: Run,
    recorded: Sequence[NodeRun],
    asked: Asked,
    decisive: frozenset[str],
    now: float,
    tries: Tries,
) -> Iterator[_Line]:
    known = {node.path: node for node in recorded}
    for row in rows(plan, run, recorded):
        if not _fits(plan, row, asked):
            continue
        node = known.get(row.path)
        yield _Line(
            path=row.path,
            state=str(row.state),
            span=None if node is None else span(node, decisive, now, tries),
            opens=_opening(run, asked, row.path) if row.attempt else None,
            tries=len(tries.get(row.path, ())),
            error=row.error,
        )


def _fits(plan: Plan, row: Row, asked: Asked) -> bool:
    if asked.state and row.state != asked.state:
        return False
    if asked.find and asked.find not in row.path and asked.find not in unquote(row.path):
        return False
    if not asked.under:
        return True
    try:
        return plan.locate(row.path).static == asked.under
    except UnknownNode:
        return False


def _opening(run: Run, asked: Asked, path: str) -> str:
    return asked.link(run, node=path, page=asked.page) + "#node"


def _table(lines: Sequence[_Line], time: Clock, asked: Asked) -> Markup:
    seconds = duration(time.end - time.begin)
    scale = tag("span", tag("span", "Timeline"), tag("span", seconds), class_="scale")
    head: list[Child] = ["Node", "State", scale, "Ran", "Waited", "Tries"]
    body = [
        [
            _name(line, asked),
            join(
                state(line.state),
                tag("span", f" {line.done}", class_="dim") if line.done else None,
            ),
            bar(line.span, line.state, time, grouped=line.grouped),
            duration(line.span.ran) if line.span else None,
            duration(line.span.waited) if line.span else None,
            line.tries if line.tries > 1 else None,
        ]
        for line in lines
    ]
    return table(head, body, "No nodes like that.", "Nodes", kind="nodes")


def _name(line: _Line, asked: Asked) -> Markup:
    """A path: in the list of the definition only its last part, indented by what it lies in. Those who
    hear it are told the whole."""
    told: Child = line.path
    depth = 0
    if not asked.narrowed:
        outer, _, name = line.path.rpartition("/")
        chosen = outer.endswith("]") and not outer.endswith("[]")
        key = tag("span", outer[outer.rindex("[") :], " ", class_="dim") if chosen else None
        told, depth = join(key, name), min(line.path.count("/"), _DEEPEST)
    attributes = {"class_": f"mono in{depth}", "title": line.path if depth else None}
    shown = (
        tag(
            "a",
            told,
            href=line.opens,
            aria_label=line.path,
            aria_current="true" if line.path == asked.node else None,
            data_soft=True,
            **attributes,
        )
        if line.opens
        else tag("span", told, **attributes)
    )
    mark = (
        tag(
            "span",
            "◆",
            class_="mark",
            title="on the critical path",
            role="img",
            aria_label="on the critical path",
        )
        if line.span and line.span.critical
        else None
    )
    return join(shown, mark, cut(line.error, bad=True))


def _chips(run: Run, view: Overview, asked: Asked) -> Markup:
    """The numbers of nodes by state, each of which narrows the list."""
    links = [_chip("All nodes", asked.link(run, state="", under="", find=""), not asked.narrowed)]
    if asked.under:
        here = asked.link(run, state="", find="")
        label = tag("span", asked.under, class_="mono")
        links.append(_chip(label, here, not (asked.state or asked.find)))
    for each, count in view.counts.items():
        label = join(state(str(each)), f" {count:,}")
        links.append(_chip(label, asked.link(run, state=str(each)), each == asked.state))
    return tag("nav", links, aria_label="Nodes by state", class_="chips")


def _chip(label: Child, href: str, current: bool) -> Markup:
    marked = "true" if current else None
    return tag("a", label, href=href + "#nodes", aria_current=marked, data_soft=True)


def _finder(run: Run, view: Overview, asked: Asked) -> Markup:
    kept = {"state": asked.state, "under": asked.under}
    return tag(
        "form",
        tag("label", "Path has", for_="find"),
        tag("input", id="find", name="find", value=asked.find, placeholder="an item's key"),
        [tag("input", type="hidden", name=name, value=text) for name, text in kept.items() if text],
        tag("button", "Find"),
        method="get",
        action=f"/ui/run/{run.id}",
        class_="filters",
    )


def _legend(lines: Sequence[_Line]) -> Markup:
    critical = any(line.span and line.span.critical for line in lines)
    grouped = any(line.grouped for line in lines)
    earlier = any(line.span and line.span.earlier and not line.grouped for line in lines)
    return tag(
        "p",
        "Thin: waiting, and delays before a retry. Thick: running. ",
        "Before the last attempt: red where it failed, outlined where its worker was lost. "
        if earlier
        else None,
        "Several instances share a line: first start to last end, medians. " if grouped else None,
        "◆ The critical path, which decided when the run ended." if critical else None,
        class_="dim small",
    )
