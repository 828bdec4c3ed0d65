"""Mermaid, DOT, JSON and SVG: well-formed, complete, nothing in them that a name could break."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from goflow.drawing import layout
from goflow.drawing.text import width
from goflow.plan import Edge, Graph, Node, Plan
from goflow_cli.views.drawing import FORMATS, Screen, draw
from tests.views.samples import (
    LONG,
    PLANS,
    RUNS,
    conditional,
    foreach,
    graph,
    node,
    seen,
    sub_dag,
)
from tests.views.test_pictures import graphs

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '"]; <b>&amp;#quot;`${x}\\" -->'
HOSTILE = Plan(
    "hostile",
    graph("k", k=Node("k", "conditional", dags={EVIL: graph("a"), "%%{init}%%": graph("b")})),
)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_names_every_node(format: str, name: str) -> None:
    plan, overview = RUNS[name]
    for text in (draw(plan, format=format), draw(plan, overview, format=format)):
        for _, each in plan.walk():
            assert each.name in text


def test_mermaid_has_subgraphs_dotted_edges_and_classes() -> None:
    plan, overview = RUNS["running-conditional"]
    text = draw(plan, overview, format="mermaid")
    assert text.startswith("---\ntitle:")
    assert text.count("subgraph ") == text.count("    end\n") == 4
    assert "n0 -.-> n12" in text
    assert "n0 --> n1\n" in text
    assert re.search(r"class n0,\S+ succeeded", text)
    assert 'subgraph n5["⊘ [fail]"]' in text


def test_mermaid_says_where_a_forwarder_works() -> None:
    plan = Plan("f", Graph({"a": Node("a"), "b": Node("b")}, (Edge("a", "b", forwarder=True),)))
    assert 'n0 -->|"forwarder"| n1' in draw(plan, format="mermaid")


def test_a_key_cannot_break_out_of_mermaid() -> None:
    labels = re.findall(r'\["(.*)"\]$', draw(HOSTILE, format="mermaid"), re.MULTILINE)
    assert len(labels) == 5
    for label in labels:
        assert not re.search(r'["<>&`{}\\]', label)


def test_dot_has_clusters_dashed_edges_and_states() -> None:
    plan, overview = RUNS["running-conditional"]
    text = draw(plan, overview, format="dot")
    assert text.count("{") == text.count("}") == 5
    assert '"read" -> "audit" [style=dashed];' in text
    assert 'lhead="cluster kind"' in text
    assert '"kind exit" -> "write" [ltail="cluster kind"' in text
    assert '[label="✓ read 120 ms", color="#15803d"]' in text


def test_a_key_cannot_break_out_of_dot() -> None:
    text = draw(HOSTILE, format="dot")
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert "<b>" not in unquoted
    assert unquoted.count("{") == unquoted.count("}") == 4


def test_json_is_the_definition() -> None:
    assert json.loads(draw(PLANS["nested"], format="json")) == PLANS["nested"].definition()


def test_json_of_a_run_has_the_states() -> None:
    plan, overview = RUNS["running-foreach"]
    told = json.loads(draw(plan, overview, format="json"))
    assert told["run"]["run_id"] == "r-42"
    each = next(node for node in told["nodes"] if node["name"] == "each")
    assert (each["state"], each["done"], each["width"]) == ("running", 37, 500)
    store = next(node for node in each["dag"]["nodes"] if node["name"] == "store")
    assert store["counts"] == {"succeeded": 37, "waiting": 463}


@pytest.mark.parametrize("name", RUNS)
def test_svg_is_one_file_that_needs_nothing_else(name: str) -> None:
    plan, overview = RUNS[name]
    text = draw(plan, overview, format="svg")
    root = ElementTree.fromstring(text)
    assert root.tag == SVG + "svg"
    assert root.find(SVG + "title") is not None
    described = root.find(SVG + "desc")
    assert described is not None
    assert described.text
    assert not re.search(r"<script|<image|<use|href|@import|https?://(?!www\.w3\.org)", text)
    assert "prefers-color-scheme:dark" in text


def test_svg_draws_each_edge_and_colours_each_state() -> None:
    plan, overview = RUNS["running-conditional"]
    root = ElementTree.fromstring(draw(plan, overview, format="svg"))
    classes = [path.get("class") for path in root.iter(SVG + "path")]
    assert classes.count("edge") == 2 + 1 + 2
    assert classes.count("edge dashed") == 2
    boxes = [rect.get("class") or "" for rect in root.iter(SVG + "rect")]
    assert boxes.count("box succeeded") == 4
    assert "box retrying" in boxes
    assert "frame skipped" in boxes


def test_svg_tells_the_flow_in_words() -> None:
    root = ElementTree.fromstring(draw(PLANS["diamond"], format="svg"))
    assert root.findtext(SVG + "desc") == "a; b after a; c after a; d after b, c"


def test_a_key_cannot_break_out_of_svg() -> None:
    root = ElementTree.fromstring(draw(HOSTILE, format="svg"))
    assert not list(root.iter(SVG + "b"))


@given(graphs(most=10, depth=2))
@settings(max_examples=40, deadline=None)
def test_svg_of_any_flow_is_well_formed_and_inside_its_frame(flow: Graph) -> None:
    plan = Plan("any", flow)
    root = ElementTree.fromstring(draw(plan, seen(plan, "running", []), format="svg"))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for rect in root.iter(SVG + "rect"):
        x, y = float(rect.get("x", "0")), float(rect.get("y", "0"))
        assert 0 <= x <= x + float(rect.get("width", "0")) <= width
        assert 0 <= y <= y + float(rect.get("height", "0")) <= height


def test_errors_reach_the_picture_without_steering_the_terminal() -> None:
    plan, overview = RUNS["failed-fifty"]
    text = draw(plan, overview)
    assert "ValueError: bad shard \\x1b[31m'x'" in text
    assert "\x1b" not in text


def test_long_names_are_whole_in_every_format() -> None:
    for format in FORMATS:
        assert LONG in draw(PLANS["long-names"], format=format)


def test_drawing_to_a_pipe_imports_no_rich() -> None:
    code = (
        "import sys; from tests.views.samples import RUNS; from goflow_cli.views.drawing import *;"
        "plan, overview = RUNS['running-conditional'];"
        "[draw(plan, overview, format=each) for each in FORMATS]; screen(sys.stdout);"
        "import goflow_cli.views.live, goflow_cli.views.plain;"
        "print([name for name in sys.modules if name.startswith('rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_failed_node_named_like_a_state_is_told() -> None:
    plan = Plan("p", graph("failed"))
    text = draw(plan, seen(plan, "failed", [node("failed", "failed", 0, 1, error="E: x")]))
    assert "✗ failed  E: x" in text


def deep(levels: int) -> Plan:
    inner = graph("leaf")
    for level in range(levels):
        kinds = (sub_dag("s", inner), foreach("s", inner), conditional("s", x=inner))
        inner = graph("a b s", "a>s b>s", s=kinds[level % 3])
    return Plan("deep", inner)


@pytest.mark.parametrize("format", FORMATS)
def test_a_flow_of_a_thousand_levels_is_drawn_in_every_format(format: str) -> None:
    drawn = draw(deep(1000), format=format)
    if format in ("terminal", "svg"):
        assert "+2,971 nodes, 991 levels" in drawn
    else:
        assert drawn.count("leaf") >= 1
        assert len(drawn) < 60_000_000


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_what_is_too_deep_to_be_seen_is_folded_into_one_box(columns: int) -> None:
    drawn = draw(deep(60), screen=Screen(columns))
    assert all(width(line) <= columns for line in drawn.splitlines())
    assert "leaf" not in drawn
    assert "+" not in draw(deep(19), screen=Screen(columns))


def test_a_graph_of_more_nodes_than_anybody_could_follow_is_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = Plan("diamond", graph("a b c d", "a>b a>c b>d c>d"))
    for most, listed in ((4, False), (3, True)):
        monkeypatch.setattr(layout, "MOST", most)
        assert ("after b, c" in draw(plan, screen=Screen(80))) == listed
        assert (draw(plan, format="svg").count("<rect") == 1) == listed, "the page, and no boxes"
