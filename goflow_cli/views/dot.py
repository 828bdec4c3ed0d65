"""A flow in Graphviz' DOT: branches and sub-DAGs are clusters, execution-only edges dashed."""

from __future__ import annotations

from collections.abc import Iterator

from goflow.overview import Overview
from goflow.plan import Edge, Graph, Node, Plan
from goflow_cli.views.labels import Labels
from goflow_cli.views.listing import inside
from goflow_cli.views.look import LOOKS, Line
from goflow_cli.views.text import clean


def render(plan: Plan, overview: Overview | None = None) -> str:
    """A digraph. Edges of a branch or sub-DAG end at its cluster's border (`compound`)."""
    writer = _Writer(Labels(overview))
    lines = [
        f"digraph {_quoted(plan.flow)} {{",
        "    compound=true; rankdir=TB;",
        '    graph [fontname="sans-serif", style=rounded, color="#6b7280"];',
        '    node [shape=box, fontname="sans-serif"];',
        '    edge [color="#6b7280"];',
        *writer.graph(plan.graph, "", "    "),
        "}",
    ]
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def graph(self, graph: Graph, prefix: str, indent: str) -> Iterator[str]:
        for name, node in graph.nodes.items():
            path = prefix + name
            if node.kind == "node":
                label = self.labels.node(path, node, self.labels.node_width(path, node))
                yield f"{indent}{_quoted(path)} [label={_label(label)}{self._color(path)}];"
            else:
                yield from self._cluster(path, node, indent)
        for edge in graph.edges:
            yield f"{indent}{self._edge(graph, prefix, edge)}"

    def _cluster(self, path: str, node: Node, indent: str) -> Iterator[str]:
        yield f"{indent}subgraph {_quoted('cluster ' + path)} {{"
        yield f"{indent}    label={_label(self.labels.title(path, node))}{self._color(path, ';')};"
        for key, prefix, inner in inside(path, node):
            if node.kind == "conditional":
                yield f"{indent}    subgraph {_quoted('cluster ' + prefix)} {{"
                state = self.labels.key_state(path, key)
                color = "" if state is None else f'; color="{LOOKS[state].light}"'
                yield f"{indent}        label={_label(self.labels.key(path, key))}{color};"
                yield from self.graph(inner, prefix, indent + "        ")
                yield f"{indent}    }}"
            else:
                yield from self.graph(inner, prefix, indent + "    ")
        yield f"{indent}}}"

    def _edge(self, graph: Graph, prefix: str, edge: Edge) -> str:
        source, target = prefix + edge.source, prefix + edge.target
        options = []
        if graph.nodes[edge.source].kind != "node":
            options.append(f"ltail={_quoted('cluster ' + source)}")
            source = _inner(source, graph.nodes[edge.source], last=True)
        if graph.nodes[edge.target].kind != "node":
            options.append(f"lhead={_quoted('cluster ' + target)}")
            target = _inner(target, graph.nodes[edge.target], last=False)
        if edge.execution_only:
            options.append("style=dashed")
        if edge.forwarder:
            options.append('label="forwarder"')
        told = f" [{', '.join(options)}]" if options else ""
        return f"{_quoted(source)} -> {_quoted(target)}{told};"

    def _color(self, path: str, separator: str = ",") -> str:
        summary = self.labels.summary(path)
        return "" if summary is None else f'{separator} color="{LOOKS[summary.state].light}"'


def _inner(path: str, node: Node, *, last: bool) -> str:
    """A plain node inside a cluster that an edge of the cluster can hold on to."""
    while node.kind != "node":
        found = list(inside(path, node))
        _, prefix, graph = found[len(found) // 2]
        name = graph.ends[-1] if last else graph.starts[0]
        path, node = prefix + name, graph.nodes[name]
    return path


def _label(line: Line) -> str:
    return _quoted(clean("".join(text for text, _ in line)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
