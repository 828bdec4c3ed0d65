"""Flows and runs to draw, built from the words of goflow.plan and goflow.backend alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from goflow.backend import NodeRun, Run
from goflow.overview import Overview, overview
from goflow.plan import Edge, Graph, Node, Plan
from goflow.state import NodeState, RunState

#: when everything here began: an arbitrary second
T = 1_700_000_000.0


def graph(names: str, edges: str = "", **special: Node) -> Graph:
    """`graph("a b c", "a>b b~c")`: nodes, edges and (`~`) execution-only edges."""
    nodes = {name: special.get(name.replace("-", "_"), Node(name)) for name in names.split()}
    made = []
    for edge in edges.split():
        dashed = "~" in edge
        source, target = edge.split("~" if dashed else ">")
        made.append(Edge(source, target, execution_only=dashed))
    return Graph(nodes, tuple(made))


def sub_dag(name: str, inner: Graph) -> Node:
    return Node(name, "sub_dag", dags={"": inner})


def foreach(name: str, inner: Graph) -> Node:
    return Node(name, "foreach", dags={"": inner})


def conditional(name: str, **inner: Graph) -> Node:
    return Node(name, "conditional", dags=dict(inner))


def run(state: str, *, seconds: float | None = None, error: str | None = None) -> Run:
    finished = None if seconds is None else T + seconds
    return Run(
        id="r-42",
        flow="flow",
        state=RunState(state),
        created=T,
        started=T,
        finished=finished,
        error=error,
    )


def node(
    path: str,
    state: str,
    begin: float | None = None,
    end: float | None = None,
    *,
    attempt: int = 1,
    error: str | None = None,
    width: int | None = None,
    done: int = 0,
    keys: Sequence[str] | None = None,
) -> NodeRun:
    """A recorded instance; times are seconds after the run began."""
    return NodeRun(
        path=path,
        state=NodeState(state),
        attempt=attempt,
        started=None if begin is None else T + begin,
        finished=None if end is None else T + end,
        error=error,
        width=width,
        done=done,
        keys=None if keys is None else tuple(keys),
    )


def seen(plan: Plan, state: str, nodes: Sequence[NodeRun], at: float = 65.0) -> Overview:
    """What people see `at` seconds after the run began."""
    ended = at if RunState(state).terminal else None
    return overview(plan, run(state, seconds=ended), nodes, T + at)


def parallel(count: int) -> Graph:
    middle = [f"shard-{i:02d}" for i in range(count)]
    edges = " ".join(f"split>{name} {name}>join" for name in middle)
    return graph(f"split {' '.join(middle)} join", edges)


def chains(count: int) -> Graph:
    names = " ".join(f"load-{i} store-{i}" for i in range(count))
    edges = " ".join(f"start>load-{i} load-{i}>store-{i} store-{i}>end" for i in range(count))
    return graph(f"start {names} end", edges)


KIND = conditional(
    "kind",
    **{
        "pass": graph("face-detect face-match", "face-detect>face-match"),
        "fail": graph("report"),
        "unsure": graph("ask wait decide", "ask>wait wait>decide"),
    },
)
EACH = foreach("each", graph("load resize store", "load>resize resize>store load>store"))
FACES = graph("face-detect face-match", "face-detect>face-match")
LONG = "a-name-of-sixty-four-characters-that-somebody-thought-was-useful"

PLANS: Mapping[str, Plan] = {
    "chain": Plan("chain", graph("fetch parse store", "fetch>parse parse>store")),
    "diamond": Plan("diamond", graph("a b c d", "a>b a>c b>d c>d")),
    "several-starts-and-ends": Plan(
        "several", graph("a b c d e f", "a>c b>c c>d c>e b>f a>f"), on_failure=True, finally_=True
    ),
    "long-edges": Plan("long", graph("a b c d e", "a>b b>c c>d d>e a>e a>d b~e")),
    "swap": Plan("swap", graph("left right upper lower", "left>lower right>upper left~upper")),
    "two-styles": Plan(
        "etl",
        graph(
            "extract prepare check load sales",
            "extract>check check>load check>sales prepare~load prepare~sales",
        ),
    ),
    "sub-dag": Plan(
        "sub", graph("read kyc write", "read>kyc kyc>write", kyc=sub_dag("kyc", FACES))
    ),
    "conditional": Plan(
        "cond",
        graph("read kind write audit", "read>kind kind>write read~audit audit~write", kind=KIND),
    ),
    "foreach": Plan("pictures", graph("list each zip", "list>each each>zip", each=EACH)),
    "nested": Plan(
        "nested",
        graph(
            "list outer zip",
            "list>outer outer>zip",
            outer=foreach(
                "outer",
                graph(
                    "split kind inner",
                    "split>kind split>inner",
                    kind=KIND,
                    inner=foreach("inner", graph("verify")),
                ),
            ),
        ),
    ),
    "fifty-in-a-layer": Plan("wide", parallel(50)),
    "chains-side-by-side": Plan("chains", chains(12)),
    "long-names": Plan(
        "names",
        graph(f"start {LONG} {LONG[:-1]}2 end", f"start>{LONG} {LONG}>end start>{LONG[:-1]}2"),
    ),
    "wide-keys": Plan(
        "wide-keys",
        graph(
            "choose end",
            "choose>end",
            choose=Node(
                "choose",
                "conditional",
                dags={"日本語": graph("a"), "né e": graph("b"), "x": graph("c")},
            ),
        ),
    ),
}


def _pictures() -> list[NodeRun]:
    """A foreach over 500 pictures of which 37 are done and four on their way."""
    nodes = [node("list", "succeeded", 0, 0.02), node("each", "running", 0.1, width=500, done=37)]
    for i in range(60):
        nodes.append(node(f"each[{i}]/load", "succeeded", 1, 2))
        if i < 44:
            done = i < 40
            state, end = ("succeeded", 3.0) if done else ("running", None)
            nodes.append(node(f"each[{i}]/resize", state, 2, end))
        if i < 37:
            nodes.append(node(f"each[{i}]/store", "succeeded", 3, 4))
    return nodes


RUNS: Mapping[str, tuple[Plan, Overview]] = {
    "running-conditional": (
        PLANS["conditional"],
        seen(
            PLANS["conditional"],
            "running",
            [
                node("read", "succeeded", 0, 0.12),
                node("kind", "running", 0.12, width=2, done=1, keys=["pass", "unsure"]),
                node("kind[pass]/face-detect", "succeeded", 0.2, 3.1),
                node("kind[pass]/face-match", "succeeded", 3.2, 4.0, attempt=2),
                node("kind[unsure]/ask", "succeeded", 0.2, 1),
                node("kind[unsure]/wait", "running", 1),
                node("audit", "retrying", 0.2, error="TimeoutError: no answer"),
            ],
        ),
    ),
    "running-foreach": (PLANS["foreach"], seen(PLANS["foreach"], "running", _pictures())),
    "failed-fifty": (
        PLANS["fifty-in-a-layer"],
        seen(
            PLANS["fifty-in-a-layer"],
            "failed",
            [
                node("split", "succeeded", 0, 0.1),
                *(node(f"shard-{i:02d}", "succeeded", 1, 1 + i) for i in range(20)),
                node("shard-20", "failed", 1, 2, error="ValueError: bad\nshard \x1b[31m'x'"),
                node("shard-21", "ready"),
            ],
        ),
    ),
    "stopped-sub-dag": (
        PLANS["sub-dag"],
        seen(
            PLANS["sub-dag"],
            "stopped",
            [
                node("read", "succeeded", 0, 1),
                node("kyc", "running", 1, width=1),
                node("kyc/face-detect", "stopped", 1, 20),
            ],
        ),
    ),
    "failed-several": (
        PLANS["several-starts-and-ends"],
        seen(
            PLANS["several-starts-and-ends"],
            "failed",
            [
                node("a", "succeeded", 0, 4000),
                node("b", "failed", 0, 1, attempt=3, error="KeyError: 'b'"),
                node("~on_failure", "succeeded", 4000, 4000.1),
                node("~finally", "failed", 4001, 4002, error="OSError: disk full"),
            ],
            at=4010,
        ),
    ),
}
