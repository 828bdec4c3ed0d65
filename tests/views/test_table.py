"""Tables fit the terminal, and leave out the least of what they have."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from goflow.drawing.text import width
from goflow.waterfall import Bar
from goflow_cli.table import table
from goflow_cli.views.waterfall import in_tree

PATH = "verify-customer-documents[bob@example.org%2Fdriving-licence.jpg]/verify-image/face-match"
HEAD = ("NODE", "STATE", "TRIES", "STARTED", "TOOK", "ERROR")


def bar(path: str) -> Bar:
    return Bar(path=path, state="succeeded", begin=0, end=1, queued=0, ran=1)


def shown(rows: list[list[str]], room: int) -> list[str]:
    lines = table(HEAD, rows, room, 1)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_a_long_path_gives_way_to_what_became_of_it() -> None:
    row = [PATH, "failed", "2", "20:24:38", "109 ms", "ValueError: face does not match"]
    head, line = shown([row], 80)
    assert head.split() == list(HEAD)
    assert line.startswith("verify-c")
    assert "face-match  failed  2      20:24:38  109 ms  ValueErr" in line


def test_a_short_one_stays_whole() -> None:
    row = ["fetch", "failed", "2", "20:24:38", "109 ms", "ValueError: " + "x" * 100]
    assert shown([row], 80)[1].startswith("fetch  failed  2      20:24:38  109 ms  ValueError: xxx")


def test_where_no_terminal_bounds_it_a_long_error_is_cut_and_a_path_is_not() -> None:
    row = [PATH * 5, "failed", "2", "20:24:38", "109 ms", "ValueError: " + "x" * 3000]
    line = shown([row], 0)[1]
    path, error = line.split()[0], line.partition("109 ms  ")[2]
    assert (path, len(error), error[-2:]) == (PATH * 5, 200, "x…")


def test_where_there_is_no_room_a_column_goes_and_never_the_state() -> None:
    head, line = shown([[PATH, "failed", "2", "2023-11-14 22:15:44", "109 ms", "ValueError"]], 60)
    assert head.split() == ["NODE", "STATE", "TRIES", "TOOK", "ERROR"]
    assert line.endswith("/face-match  failed  2      109 ms  ValueError")


def test_what_matters_most_of_the_others_goes_last() -> None:
    head = ("ATTEMPT AT", "ROUND", "ATTEMPT", "STATE", "STARTED", "TOOK", "ERROR")
    row = ["fetch-all-documents", "1", "2", "failed", "20:24:38", "109 ms", "ValueError: no"]

    def left(room: int) -> list[str]:
        first = table(head, [row], room, 3, keep=2)[0]
        return "".join(text for text, _ in first).replace("ATTEMPT AT", "AT").split()

    assert left(50) == ["AT", "ATTEMPT", "STATE", "ERROR"]
    assert left(40) == ["AT", "ATTEMPT", "STATE", "ERROR"]
    assert left(30) == ["AT", "STATE", "ERROR"]


@given(st.lists(st.lists(st.text(max_size=60), min_size=6, max_size=6)), st.integers(40, 200))
@example([["n" * 40, "", "", "", "t" * 41, ""]], 40)
@settings(deadline=None)  # a loaded machine is no reason to fail
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], room: int) -> None:
    for line in table(HEAD, rows, room):
        assert sum(width(text) for text, _ in line[:-1]) <= room


def test_a_bar_is_named_by_what_its_path_has_more_than_the_branch_around_it() -> None:
    paths = [
        "each",
        "each[a]/sub",
        "each[b]/sub",
        "each[b]/sub/x",
        "each[a]/sub/x",
        "lone/y",
        "end",
    ]
    assert [name for name, _ in in_tree([bar(path) for path in paths])] == [
        "each", "  [a]/sub", "    x", "  [b]/sub", "    x", "lone/y", "end",
    ]  # fmt: skip
