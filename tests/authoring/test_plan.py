"""A flow's shape as data: what its fingerprint covers, how node paths are read, how it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from goflow import Dag, Workflow
from goflow.errors import UnknownNode
from goflow.nodepath import decode_key, encode_key
from goflow.plan import Plan
from goflow.workflow import build
from tests.naming import named


def same(data: bytes) -> bytes:
    return data


def other(data: bytes) -> bytes:
    return data + b"!"


def plan(draw: Callable[[Dag], object], name: str = "flow", **options: Any) -> Plan:
    def define(workflow: Workflow, context: object) -> None:
        draw(workflow.dag)
        workflow.timeout = options.get("timeout")
        if options.get("on_failure"):
            workflow.on_failure(options["on_failure"])
        if options.get("finally_"):
            workflow.finally_(options["finally_"])

    return build(name, define).plan


def draw(
    dag: Dag,
    *,
    names: tuple[str, ...] = ("a", "b"),
    work: Callable[..., Any] | None = same,
    edge: dict[str, Any] | None = None,
    node: dict[str, Any] | None = None,
    conditions: tuple[str | int, ...] = ("x", "y"),
    branch: dict[str, Any] | None = None,
    foreach: dict[str, Any] | None = None,
    inner: str = "inner",
    choose: Callable[..., Any] = same,
) -> None:
    """A DAG with one of everything, each of which a test changes alone."""
    for name in names:
        dag.node(name, work, **(node or {}))
    dag.edge(*names[:2], **(edge or {}))
    for each in dag.conditional_branch("kind", conditions, choose, **(branch or {})).values():
        each.node(inner, work)
    dag.foreach_branch("each", choose, **(foreach or {})).node(inner, work)
    sub = Dag()
    sub.node(inner, work)
    dag.sub_dag("sub", sub)


def print_of(name: str = "flow", **changes: Any) -> str:
    options = {key: changes.pop(key, None) for key in ("timeout", "on_failure", "finally_")}
    return plan(lambda dag: draw(dag, **changes), name, **options).fingerprint


# -- the fingerprint ------------------------------------------------------------------------------

CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"names": ("a", "c")},
    {"names": ("b", "a")},
    {"names": ("a", "b", "c")},
    {"inner": "renamed"},
    {"edge": {"execution_only": True}},
    {"edge": {"forwarder": same}},
    {"node": {"retries": 1}},
    {"node": {"retry_delay": 2}},
    {"node": {"retry_backoff": 3}},
    {"node": {"timeout": 5}},
    {"node": {"on_worker_lost": "fail"}},
    {"node": {"aggregator": same}},
    {"node": {"on_failure": same}},
    {"conditions": ("x", "z")},
    {"conditions": ("y", "x")},
    {"conditions": ("x",)},
    {"branch": {"execution_only": True}},
    {"branch": {"aggregator": same}},
    {"foreach": {"execution_only": True}},
    {"foreach": {"aggregator": same}},
    {"foreach": {"max_parallel": 2}},
    {"timeout": 5},
    {"on_failure": same},
    {"finally_": same},
]


@pytest.mark.parametrize("change", CHANGES, ids=named)
def test_a_changed_definition_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert print_of(**change) != print_of()


def test_no_two_of_these_changes_share_a_fingerprint() -> None:
    assert len({print_of(**change) for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ({"work": same}, {"work": other}),
        ({"work": same}, {"work": None}),
        ({"choose": same}, {"choose": other}),
        ({"edge": {"forwarder": same}}, {"edge": {"forwarder": other}}),
        ({"node": {"aggregator": same}}, {"node": {"aggregator": other}}),
        ({"node": {"on_failure": same}}, {"node": {"on_failure": other}}),
        ({"foreach": {"aggregator": same}}, {"foreach": {"aggregator": other}}),
        ({"finally_": same}, {"finally_": other}),
        ({"conditions": (1, 2)}, {"conditions": ("1", "2")}),
        ({"node": {"timeout": 5}}, {"node": {"timeout": 5.0}}),
        ({"timeout": 5}, {"timeout": 5.0}),
    ],
)
def test_bodies_and_spelling_leave_the_fingerprint_alone(
    one: dict[str, Any], another: dict[str, Any]
) -> None:
    assert print_of(**one) == print_of(**another)


def test_a_fingerprint_is_sixteen_hex_digits() -> None:
    assert len(print_of()) == 16
    int(print_of(), 16)


def test_the_order_of_edges_counts_since_joins_see_it() -> None:
    def join(*order: str) -> Callable[[Dag], None]:
        def drawing(dag: Dag) -> None:
            for name in ("a", "b", "join"):
                dag.node(name)
            for name in order:
                dag.edge(name, "join")

        return drawing

    assert plan(join("a", "b")).fingerprint != plan(join("b", "a")).fingerprint


def test_a_node_moved_into_a_sub_dag_changes_the_fingerprint() -> None:
    def flat(dag: Dag) -> None:
        dag.node("a")
        dag.node("b")

    def nested(dag: Dag) -> None:
        sub = Dag()
        sub.node("b")
        dag.node("a")
        dag.sub_dag("s", sub)

    assert plan(flat).fingerprint != plan(nested).fingerprint


# -- node paths -----------------------------------------------------------------------------------


def nested() -> Plan:
    """kind[x|a b]/each[]/sub/leaf, and a leaf at the top."""

    def drawing(dag: Dag) -> None:
        dag.node("leaf")
        for inner in dag.conditional_branch("kind", ["x", "a b"], same).values():
            sub = Dag()
            sub.node("leaf")
            inner.foreach_branch("each", same).sub_dag("sub", sub)

    return plan(drawing)


def test_a_path_leads_to_its_node_scope_and_static_path() -> None:
    place = nested().locate("kind[a%20b]/each[k/1]/sub/leaf".replace("k/1", "k%2F1"))
    assert place.node.name == "leaf"
    assert place.static == "kind[a%20b]/each[]/sub/leaf"
    assert place.scope.owner == "kind[a%20b]/each[k%2F1]/sub"
    assert place.scope.prefix == "kind[a%20b]/each[k%2F1]/sub/"
    assert place.scope.key == ""


def test_a_scope_of_a_branch_knows_its_owner_and_key() -> None:
    scope = nested().scope("kind[x]/each[7]")
    assert (scope.owner, scope.key, scope.prefix) == ("kind[x]/each", "7", "kind[x]/each[7]/")
    assert scope.static == "kind[x]/each[]/"


def test_walk_meets_every_node_once_parents_first() -> None:
    assert [path for path, _ in nested().walk()] == [
        "leaf",
        "kind",
        "kind[x]/each",
        "kind[x]/each[]/sub",
        "kind[x]/each[]/sub/leaf",
        "kind[a%20b]/each",
        "kind[a%20b]/each[]/sub",
        "kind[a%20b]/each[]/sub/leaf",
    ]


def test_every_static_path_is_the_place_of_itself() -> None:
    shape = nested()
    for path, node in shape.walk():
        place = shape.locate(path)
        assert place.node is node
        assert place.static == path


@pytest.mark.parametrize(
    "path",
    [
        "nowhere",
        "",
        "/leaf",
        "leaf/leaf",
        "leaf[x]/leaf",
        "kind/each",
        "kind[nope]/each",
        "kind[x]/nowhere",
        "kind[x]",
        "kind[x]/each/sub",
        "kind[x]/each[1]/sub[2]/leaf",
        "~result",
    ],
)
def test_a_path_that_leads_nowhere_is_told(path: str) -> None:
    with pytest.raises(UnknownNode):
        nested().locate(path)


def test_a_wrong_path_names_the_nearest() -> None:
    with pytest.raises(UnknownNode, match=r"no node 'laef', did you mean 'leaf'\?"):
        nested().locate("laef")
    with pytest.raises(UnknownNode, match=r"did you mean 'kind\[x\]'"):
        nested().locate("kind[xx]/each")


def test_a_million_items_do_not_fill_the_memory_with_places() -> None:
    shape = nested()
    for number in range(10_000):
        shape.locate(f"kind[x]/each[{number}]/sub")
    assert len(shape._places) + len(shape._inner_places) < 200


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(keys)
@example("%25")
@example("%zz%20")
@example("a/b[c] 100%\n\x00\x7f\x85\u2028é")
def test_a_key_survives_its_encoding(key: str) -> None:
    encoded = encode_key(key)
    assert decode_key(encoded) == key
    assert not set("/[] \t\n") & set(encoded)
    assert not any(c.isspace() or ord(c) < 32 or 127 <= ord(c) < 160 for c in encoded)


@given(keys, keys)
def test_two_keys_never_share_an_encoding(one: str, another: str) -> None:
    assert (encode_key(one) == encode_key(another)) == (one == another)


@given(keys)
def test_a_path_with_any_key_leads_to_its_node(key: str) -> None:
    place = nested().locate(f"kind[x]/each[{encode_key(key)}]/sub")
    assert decode_key(place.scope.key) == key


@pytest.mark.parametrize(
    ("key", "encoded"),
    [("plain", "plain"), ("a b", "a%20b"), ("é", "é"), ("100%", "100%25"), ("[x]", "%5Bx%5D")],
)
def test_only_what_would_confuse_is_encoded(key: str, encoded: str) -> None:
    assert encode_key(key) == encoded


# -- written down ---------------------------------------------------------------------------------


def full() -> Plan:
    return plan(
        lambda dag: draw(
            dag,
            node={"retries": 3, "timeout": 1.5, "on_worker_lost": "fail", "aggregator": same},
            edge={"forwarder": same},
            foreach={"max_parallel": 4, "execution_only": True},
        ),
        timeout=60,
        on_failure=same,
        finally_=same,
    )


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    for shape in (full(), nested()):
        again = Plan.from_json(shape.to_json())
        assert again == shape
        assert again.fingerprint == shape.fingerprint
        assert [path for path, _ in again.walk()] == [path for path, _ in shape.walk()]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"flow": 1}'])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Plan.from_json(data)


def test_handlers_are_named_in_the_order_they_run() -> None:
    assert full().handlers == ("~on_failure", "~finally")
    assert nested().handlers == ()


def test_single_means_one_plain_node() -> None:
    assert plan(lambda dag: dag.node("a")).single
    assert not plan(lambda dag: dag.foreach_branch("a", same).node("x")).single
    assert not plan(lambda dag: draw(dag)).single


def test_a_definition_is_json_that_shows_the_whole_shape() -> None:
    told = json.loads(json.dumps(full().definition()))
    assert told["flow"] == "flow"
    assert told["fingerprint"] == full().fingerprint
    assert (told["timeout"], told["on_failure"], told["finally"]) == (60.0, True, True)
    assert told["starts"] == ["a", "kind", "each", "sub"]
    assert told["ends"] == ["b", "kind", "each", "sub"]
    nodes = {node["name"]: node for node in told["nodes"]}
    assert nodes["a"] == {
        "name": "a",
        "kind": "node",
        "dynamic": False,
        "execution_only": False,
        "aggregator": True,
        "on_failure": False,
        "in_degree": 0,
        "out_degree": 1,
        "children": [{"name": "b", "execution_only": False, "forwarder": True}],
        "retries": 3,
        "retry_delay": 1.0,
        "retry_backoff": 2.0,
        "timeout": 1.5,
        "on_worker_lost": "fail",
    }
    assert (nodes["b"]["in_degree"], nodes["b"]["out_degree"]) == (1, 0)
    assert nodes["kind"]["dynamic"] is True
    assert list(nodes["kind"]["conditions"]) == ["x", "y"]
    assert nodes["kind"]["conditions"]["x"]["nodes"][0]["name"] == "inner"
    assert nodes["each"]["execution_only"] is True
    assert nodes["each"]["max_parallel"] == 4
    assert nodes["each"]["dag"]["nodes"][0]["name"] == "inner"
    assert nodes["sub"]["kind"] == "sub_dag"
    assert nodes["sub"]["dynamic"] is False
    assert nodes["sub"]["dag"]["starts"] == ["inner"]


def test_a_dags_definition_is_the_flows_without_its_name() -> None:
    dag = Dag()
    draw(dag)
    told = plan(draw).definition()
    assert dag.definition() == {key: told[key] for key in ("starts", "ends", "nodes")}


def test_after_is_a_node_and_all_downstream_of_it() -> None:
    dag = Dag()
    a, b, c, d, e = (dag.node(name) for name in "abcde")
    a >> [b, c] >> d
    c >> e
    graph, _ = dag.freeze()
    assert graph.after("a") == ["a", "b", "c", "d", "e"]
    assert graph.after("c") == ["c", "d", "e"]
    assert graph.after("d") == ["d"]
