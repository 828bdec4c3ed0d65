"""The drawn DAG as text files. `UPDATE_SNAPSHOTS=1` writes them again: look at every change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goflow.drawing.look import paint
from goflow.drawing.text import width
from goflow_cli.views.compact import compact
from goflow_cli.views.drawing import Screen, draw
from tests.views.samples import PLANS, RUNS

FOLDER = Path(__file__).parent / "snapshots"


def check(name: str, text: str) -> None:
    """Compare with the file, or write it."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no snapshot {name}: UPDATE_SNAPSHOTS=1 writes it"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("name", PLANS)
def test_a_flow_looks_as_it_did(name: str, columns: int) -> None:
    check(f"{name}-{columns}.txt", draw(PLANS[name], screen=Screen(columns)))


@pytest.mark.parametrize("columns", [20, 60, 120])
@pytest.mark.parametrize("name", ["conditional", "nested", "fifty-in-a-layer"])
def test_a_flow_looks_as_it_did_in_other_widths(name: str, columns: int) -> None:
    check(f"{name}-{columns}.txt", draw(PLANS[name], screen=Screen(columns)))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_looks_as_it_did(name: str) -> None:
    plan, overview = RUNS[name]
    check(f"run-{name}-80.txt", draw(plan, overview))
    check(f"run-{name}-80-ascii.txt", draw(plan, overview, screen=Screen(80, unicode=False)))


def test_a_run_looks_as_it_did_in_colour() -> None:
    plan, overview = RUNS["running-conditional"]
    check("run-color.txt", draw(plan, overview, screen=Screen(100, color=True)))


@pytest.mark.parametrize("name", ["conditional", "nested", "wide-keys"])
def test_ascii_looks_as_it_did(name: str) -> None:
    check(f"{name}-80-ascii.txt", draw(PLANS[name], screen=Screen(80, unicode=False)))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_in_few_lines_looks_as_it_did(name: str) -> None:
    plan, overview = RUNS[name]
    lines = compact(plan, overview, 60, 12)
    check(f"compact-{name}.txt", "".join(paint(line, False) + "\n" for line in lines))
    assert len(lines) <= 12


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("columns", [20, 24, 31, 40, 53, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int, unicode: bool) -> None:
    drawn = [draw(plan, screen=Screen(columns, unicode=unicode)) for plan in PLANS.values()]
    drawn += [
        draw(plan, overview, screen=Screen(columns, unicode=unicode))
        for plan, overview in RUNS.values()
    ]
    for text in drawn:
        assert max(map(width, text.splitlines())) <= columns
        assert unicode or text.isascii()
