"""A flow as a Mermaid flowchart: branches and sub-DAGs are subgraphs, execution-only edges dotted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from goflow.drawing.labels import Labels
from goflow.drawing.listing import inside
from goflow.drawing.look import LOOKS, Line
from goflow.drawing.text import clean
from goflow.overview import Overview
from goflow.plan import Graph, Node, Plan
from goflow.state import NodeState
from goflow.unnested import Walk, flattened

#: columns a line is indented by at most
DEEPEST: Final = 200


def render(plan: Plan, overview: Overview | None = None) -> str:
    """A `flowchart TD` that Mermaid 10 and newer draw (GitHub, GitLab and most editors do)."""
    writer = _Writer(Labels(overview))
    lines = ["---", f"title: {_yaml(plan.flow)}", "---", "flowchart TD"]
    lines += flattened(writer.graph(plan.graph, "", "    "))
    if overview is not None:
        lines += writer.classes()
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.ids: dict[str, str] = {}
        self.used: dict[NodeState, list[str]] = {}

    def graph(self, graph: Graph, prefix: str, indent: str) -> Walk[str]:
        indent = indent[:DEEPEST]
        for name, node in graph.nodes.items():
            if node.kind == "node":
                told = self.labels.node(prefix + name, node, self._columns(prefix + name, node))
                yield f'{indent}{self._id(prefix + name)}["{_text(told)}"]'
            else:
                yield self._group(prefix + name, node, indent)
        for edge in graph.edges:
            arrow = "-.->" if edge.execution_only else "-->"
            label = '|"forwarder"|' if edge.forwarder else ""
            source, target = self.ids[prefix + edge.source], self.ids[prefix + edge.target]
            yield f"{indent}{source} {arrow}{label} {target}"

    def _group(self, path: str, node: Node, indent: str) -> Walk[str]:
        title = _text(self.labels.title(path, node))
        yield f'{indent}subgraph {self._id(path)}["{title}"]'
        for key, prefix, inner in inside(path, node):
            if node.kind == "conditional":
                state = self.labels.key_state(path, key)
                own = self._id(prefix, state)
                label = _text(self.labels.key(path, key))
                yield f'{indent}    subgraph {own}["{label}"]'
                yield self.graph(inner, prefix, indent + "        ")
                yield f"{indent}    end"
            else:
                yield self.graph(inner, prefix, indent + "    ")
        yield f"{indent}end"

    def classes(self) -> Iterator[str]:
        """A colour for each state in use."""
        for state, ids in self.used.items():
            yield f"    classDef {state} stroke:{LOOKS[state].light},stroke-width:2px"
            yield f"    class {','.join(ids)} {state}"

    def _id(self, path: str, state: NodeState | None = None) -> str:
        own = self.ids[path] = f"n{len(self.ids)}"
        summary = self.labels.summary(path)
        state = state or (summary.state if summary is not None else None)
        if state is not None:
            self.used.setdefault(state, []).append(own)
        return own

    def _columns(self, path: str, node: Node) -> int:
        return self.labels.node_width(path, node)


def _text(line: Line) -> str:
    """A label inside quotes, where Mermaid reads `#name;` entities and Markdown."""
    text = clean("".join(piece for piece, _ in line))
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_PLAIN = frozenset(" .,:-/()·×✓✗●○↻⊘■[]=+%")  # noqa: RUF001
