"""A DAG as an indented list, for what no picture can show in the columns there are.

Nodes stand in an order in which they could run, each with what it comes after; what is inside a branch
or sub-DAG is indented below it.
"""

from __future__ import annotations

from collections.abc import Iterator

from goflow.drawing.labels import Labels
from goflow.drawing.look import DIM, Line, glyph
from goflow.drawing.text import cut, split, width, wrap
from goflow.nodepath import mark
from goflow.plan import Graph, Node
from goflow.unnested import Walk, flattened

#: columns between a name and what it comes after; how far an inner DAG is indented
GAP = 2
#: what an `after` needs beside a name at least; with less it goes to the next line
BESIDE = 14


def listing(graph: Graph, prefix: str, labels: Labels, columns: int) -> list[Line]:
    """The lines of a graph, none wider than `columns`. How many there are depends on no state."""
    return list(flattened(_graph(graph, prefix, labels, max(columns, 4), "")))


def inside(path: str, node: Node) -> Iterator[tuple[str, str, Graph]]:
    """Key, static prefix and graph of each DAG inside a branch or sub-DAG."""
    for key, inner in node.dags.items():
        yield key, path + mark(node.kind, key), inner


def _graph(graph: Graph, prefix: str, labels: Labels, columns: int, left: str) -> Walk[Line]:
    """`left` is what all of its lines are indented by; `columns` are those beside it."""
    plain = [
        labels.node_width(prefix + node.name, node)
        for node in graph.nodes.values()
        if node.kind == "node"
    ]
    common = min(max(plain, default=0), columns * 3 // 5)
    for name in _order(graph):
        node, path = graph.nodes[name], prefix + name
        if node.kind == "node":
            head = _node(path, node, labels, common, columns)
        else:
            head = _title(path, node, labels, columns)
        for line in _with_after(head, _after(graph, name), columns):
            yield [(left, ""), *line] if left else line
        indent = 2 if columns > 8 else 0
        for key, inner_prefix, inner in inside(path, node):
            deeper = indent
            if node.kind == "conditional":
                told = _cut(labels.key(path, key), columns - deeper, labels)
                yield [(left + " " * deeper, ""), *told]
                deeper += indent
            yield _graph(inner, inner_prefix, labels, columns - deeper, left + " " * deeper)


def _order(graph: Graph) -> list[str]:
    """Every node after all it depends on, and else right after the one that made it ready."""
    missing = {name: len(edges) for name, edges in graph.edges_in.items()}
    stack = [name for name in reversed(graph.nodes) if not missing[name]]
    order = []
    while stack:
        name = stack.pop()
        order.append(name)
        for edge in graph.edges_out[name]:
            missing[edge.target] -= 1
        stack += [e.target for e in reversed(graph.edges_out[name]) if not missing[e.target]]
    return order


def _node(path: str, node: Node, labels: Labels, common: int, columns: int) -> list[Line]:
    needs = labels.node_width(path, node)
    if needs <= columns:
        return [labels.node(path, node, max(common, needs))]
    return _broken(path, node, labels, columns, "")


def _title(path: str, node: Node, labels: Labels, columns: int) -> list[Line]:
    """A branch's title; the name is broken, what follows it is cut when there is no room."""
    if labels.title_width(path, node) <= columns:
        return [labels.title(path, node)]
    kind = node.kind if node.kind != "sub_dag" else ""
    return _broken(path, node, labels, columns, kind)


def _broken(path: str, node: Node, labels: Labels, columns: int, kind: str) -> list[Line]:
    """A name over as many lines as it needs, then its time."""
    summary = labels.summary(path)
    indent = 0 if summary is None else 2
    lines: list[Line] = []
    rest = node.name
    while rest:
        piece, rest = split(rest, max(columns - indent, 1))
        lines.append([(" " * indent, ""), (piece, "")])
    if summary is not None:
        lines[0][0] = glyph(summary.state, labels.unicode)
        lines[0].insert(1, (" ", ""))
        told = " ".join(filter(None, (kind, labels.time(summary))))
        lines.append([(" " * indent, ""), (cut(told, columns - indent, labels.more), DIM)])
    elif kind:
        lines.append([(cut(kind, columns, labels.more), DIM)])
    return lines


def _after(graph: Graph, name: str) -> list[str]:
    """The words of `after a, b (execution-only)`."""
    edges = graph.edges_in[name]
    words = ["after"] if edges else []
    for edge in edges:
        comma = "," if edge is not edges[-1] else ""
        words += (
            [edge.source, f"(execution-only){comma}"]
            if edge.execution_only
            else [edge.source + comma]
        )
    return words


def _with_after(head: list[Line], after: list[str], columns: int) -> Iterator[Line]:
    """The label's lines with what it comes after beside it, or below where that is too narrow."""
    used = sum(width(text) for text, _ in head[-1])
    room = columns - used - GAP
    longest = max(map(width, after), default=0)
    if not after or (len(head) == 1 and room >= max(BESIDE, longest)):
        first, *others = wrap(after, room, room) if after else [""]
        yield from head[:-1]
        yield [*head[-1], (" " * GAP, ""), (first, DIM)]
        indent = used + GAP
    else:
        yield from head
        indent = 4 if columns >= 20 else min(2, columns - 1)
        others = list(wrap(after, columns - indent, columns - indent))
    for line in others:
        yield [(" " * indent, ""), (line, DIM)]


def _cut(line: Line, columns: int, labels: Labels) -> Line:
    kept: Line = []
    for text, sgr in line:
        piece = cut(text, columns, labels.more)
        columns -= width(piece)
        kept.append((piece, sgr))
    return kept
