"""Every terminal page in a pseudo-terminal, as text files. `UPDATE_SNAPSHOTS=1` writes them again: look at
every change."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.terminal.screen import Program, seen
from tests.terminal.story import told

FOLDER = Path(__file__).parent / "snapshots"
ROOT = Path(__file__).parents[2]

PAGES = {
    "graph": ["graph", "order", "--run", "on-its-way"],
    "show": ["show", "failed"],
    "trace": ["trace", "failed"],
    "trace-foreach": ["trace", "done"],
    "explain": ["explain", "on-its-way"],
    "explain-failed": ["explain", "failed"],
    "explain-node": ["explain", "on-its-way", "report"],
    "logs": ["logs", "done"],
    "runs": ["runs"],
    "workers": ["workers"],
    "live": ["show", "on-its-way", "--live"],
    "top": ["top"],
}
#: what is typed once a page shows a text: these two go on until somebody leaves
KEYS = {"live": ("~finally|each 3/20", b"\x03"), "top": ("q leaves", b"q")}
LOOKS = {
    "60": (60, {}),
    "80": (80, {}),
    "120": (120, {}),
    "200": (200, {}),
    "80-dumb": (80, {"TERM": "dumb"}),
    "80-no-color": (80, {"NO_COLOR": "1"}),
    "80-ascii": (80, {"LC_ALL": "C"}),
}

Shown = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def shown() -> Shown:
    """What every page wrote, by its name and the terminal's look. All terminals are there at once.

    The store's path is as long in every checkout and on every worker: lines break by it.
    """
    with tempfile.TemporaryDirectory(prefix="goflow-", dir="/tmp") as name:
        folder = Path(name)
        with told(folder):
            programs = {
                look: Program(folder, PAGES, columns, env, KEYS)
                for look, (columns, env) in LOOKS.items()
            }
            return {
                (page, look): output.replace(str(ROOT), "/REPO")
                for look, program in programs.items()
                for page, output in zip(PAGES, program.outputs(), strict=True)
            }


def check(name: str, text: str) -> None:
    """Compare with the file, or write it."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no snapshot {name}: UPDATE_SNAPSHOTS=1 writes it"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_looks_as_it_did(shown: Shown, look: str) -> None:
    for page in PAGES:
        text = re.sub(r"/tmp/goflow-[^/]+/store", "/STORE", seen(shown[page, look], LOOKS[look][0]))
        check(f"{page}-{look}.txt", text)


@pytest.mark.parametrize("look", LOOKS)
def test_no_page_sends_what_a_node_printed_to_the_terminal_raw(shown: Shown, look: str) -> None:
    """Nodes print an order to clear the screen, and fail with one to turn red."""
    for page in PAGES:
        assert "\x1b[2Jhello" not in shown[page, look], page
        assert "\x1b[31mhung" not in shown[page, look], page


def test_colour_is_only_where_it_is_wanted(shown: Shown) -> None:
    for page in ("graph", "show", "trace", "runs", "top"):
        assert "\x1b[32m" in shown[page, "80"] or "\x1b[0;32m" in shown[page, "80"], page
        for look in ("80-dumb", "80-no-color"):
            assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown[page, look]), (page, look)
    for page in PAGES:
        assert "\x1b" not in shown[page, "80-dumb"], page
        assert shown[page, "80-ascii"].isascii() or page == "logs", page
