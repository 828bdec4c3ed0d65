"""A flow in Graphviz' DOT: branches and sub-DAGs are clusters, execution-only edges dashed."""

from __future__ import annotations

from typing import Final

from goflow.drawing.labels import Labels
from goflow.drawing.listing import inside
from goflow.drawing.look import LOOKS, Line
from goflow.drawing.text import clean
from goflow.overview import Overview
from goflow.plan import Edge, Graph, Node, Plan
from goflow.unnested import Walk, flattened

#: invisible points at the top and bottom of a cluster that its edges hold on to: Graphviz ranks nodes,
#: not clusters
ENTRY: Final = " entry"
EXIT: Final = " exit"
#: columns a line is indented by at most
DEEPEST: Final = 200
POINT: Final = "[shape=point, style=invis, width=0, height=0]"


def render(plan: Plan, overview: Overview | None = None) -> str:
    """A digraph. Edges of a branch or sub-DAG end at its cluster's border (`compound`)."""
    writer = _Writer(Labels(overview))
    lines = [
        f"digraph {_quoted(plan.flow)} {{",
        "    compound=true; rankdir=TB;",
        '    graph [fontname="sans-serif", style=rounded, color="#6b7280"];',
        '    node [shape=box, fontname="sans-serif"];',
        '    edge [color="#6b7280"];',
        *flattened(writer.graph(plan.graph, "", "    ")),
        "}",
    ]
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def graph(self, graph: Graph, prefix: str, indent: str) -> Walk[str]:
        indent = indent[:DEEPEST]
        for name, node in graph.nodes.items():
            path = prefix + name
            if node.kind == "node":
                label = self.labels.node(path, node, self.labels.node_width(path, node))
                yield f"{indent}{_quoted(path)} [label={_label(label)}{self._color(path)}];"
            else:
                yield self._cluster(path, node, indent)
        for edge in graph.edges:
            yield f"{indent}{self._edge(graph, prefix, edge)}"

    def _cluster(self, path: str, node: Node, indent: str) -> Walk[str]:
        yield f"{indent}subgraph {_quoted('cluster ' + path)} {{"
        yield f"{indent}    label={_label(self.labels.title(path, node))}{self._color(path, ';')};"
        yield f"{indent}    {_quoted(path + ENTRY)} {POINT}; {_quoted(path + EXIT)} {POINT};"
        for _, prefix, inner in inside(path, node):
            for name in inner.starts:
                start = _into(prefix + name, inner.nodes[name])
                yield f"{indent}    {_quoted(path + ENTRY)} -> {_quoted(start)} [style=invis];"
            for name in inner.ends:
                end = _out_of(prefix + name, inner.nodes[name])
                yield f"{indent}    {_quoted(end)} -> {_quoted(path + EXIT)} [style=invis];"
        for key, prefix, inner in inside(path, node):
            if node.kind == "conditional":
                yield f"{indent}    subgraph {_quoted('cluster ' + prefix)} {{"
                state = self.labels.key_state(path, key)
                color = "" if state is None else f'; color="{LOOKS[state].light}"'
                yield f"{indent}        label={_label(self.labels.key(path, key))}{color};"
                yield self.graph(inner, prefix, indent + "        ")
                yield f"{indent}    }}"
            else:
                yield self.graph(inner, prefix, indent + "    ")
        yield f"{indent}}}"

    def _edge(self, graph: Graph, prefix: str, edge: Edge) -> str:
        source, target = prefix + edge.source, prefix + edge.target
        options = []
        if graph.nodes[edge.source].kind != "node":
            options.append(f"ltail={_quoted('cluster ' + source)}")
        if graph.nodes[edge.target].kind != "node":
            options.append(f"lhead={_quoted('cluster ' + target)}")
        if edge.execution_only:
            options.append("style=dashed")
        if edge.forwarder:
            options.append('label="forwarder"')
        if len(options) and options[0].startswith("l"):
            options.append("minlen=2")
        told = f" [{', '.join(options)}]" if options else ""
        leaves = _out_of(source, graph.nodes[edge.source])
        enters = _into(target, graph.nodes[edge.target])
        return f"{_quoted(leaves)} -> {_quoted(enters)}{told};"

    def _color(self, path: str, separator: str = ",") -> str:
        summary = self.labels.summary(path)
        return "" if summary is None else f'{separator} color="{LOOKS[summary.state].light}"'


def _into(path: str, node: Node) -> str:
    return path if node.kind == "node" else path + ENTRY


def _out_of(path: str, node: Node) -> str:
    return path if node.kind == "node" else path + EXIT


def _label(line: Line) -> str:
    return _quoted(clean("".join(text for text, _ in line)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
