"""Small DAGs, and what is wrong with one."""

from __future__ import annotations

from itertools import pairwise

import pytest

from goflow import Dag, DefinitionError


def same(data: bytes) -> bytes:
    return data


def chain(*names: str) -> Dag:
    dag = Dag()
    for name in names:
        dag.node(name, same)
    for before, after in pairwise(names):
        dag.edge(before, after)
    return dag


def problems(dag: Dag) -> tuple[str, ...]:
    """What is wrong with it, as its author is told."""
    with pytest.raises(DefinitionError) as raised:
        dag.validate()
    return raised.value.problems


def problem(dag: Dag) -> str:
    """The one thing that is wrong with it."""
    found = problems(dag)
    assert len(found) == 1, found
    return found[0]


def edges(dag: Dag) -> list[tuple[str, str]]:
    return [(e.source, e.target) for e in dag.freeze()[0].edges]
