"""A run as it goes, on a terminal and without one: what is written, and when."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pyte
import pytest

from goflow.backend import NodeRun
from goflow.message import Outcome, Task
from goflow.overview import Overview
from goflow.plan import Plan
from goflow_cli.views import live, plain
from goflow_cli.views.drawing import screen
from goflow_cli.views.live import LiveView
from goflow_cli.views.output import Output
from goflow_cli.views.plain import PlainView
from goflow_cli.views.view import view
from goflow_cli.watching import Echo
from tests.views.samples import PLANS, foreach, graph, node, seen

CHAIN = PLANS["chain"]
FAN = Plan("fan", graph("each", each=foreach("each", graph("a"))))


WIDE = Plan("wide", graph("left middle right"))


def on_screen(text: str, columns: int = 60) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    screen = pyte.Screen(columns, 60)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, and keeps what is written."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode(self.encoding)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Story:
    """A run whose records change when told to; counts how often somebody looked."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = "running"
        self.nodes: list[NodeRun] = []
        self.looks = 0

    def __call__(self) -> Overview:
        self.looks += 1
        return seen(self.plan, self.state, self.nodes, at=10.0)


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "30")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)


def test_a_short_run_leaves_its_picture_and_moves_no_cursor() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        assert view.tick() == pytest.approx(live.FIRST)
        story.nodes = [node("fetch", "succeeded", 0, 0.01)]
    assert not re.search(r"\x1b\[\d*[A-J]", out.text)
    assert "fetch" in out.text
    assert story.looks == 1


def test_the_picture_is_drawn_at_most_ten_times_a_second() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        for _ in range(1000):
            clock.now += 0.001
            view.tick()
        assert story.looks <= 10
        assert view.tick() <= live.LATEST


def test_a_slow_store_is_looked_at_less_often() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()

    def slow() -> Overview:
        clock.now += 1.0
        return story()

    with LiveView(CHAIN, slow, out, clock) as view:
        clock.now += 1
        assert view.tick() == pytest.approx(live.COST * 1.0)


def test_pictures_replace_each_other_and_the_final_one_stays() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        clock.now += 1
        view.tick()
        clock.now += 1
        view.tick()
        story.state = "succeeded"
        story.nodes = [node(name, "succeeded", 0, 1) for name in ("fetch", "parse", "store")]
    shown = on_screen(out.text)
    assert sum("fetch" in line for line in shown) == 1
    assert any("3 succeeded" in line for line in shown)
    assert not any("waiting" in line for line in shown)


def test_the_terminal_is_as_it_was_after_an_error() -> None:
    """Also after a kill, or stopped by Ctrl-Z, when nobody can put anything right: so nothing is set."""
    out, story, clock = Terminal(), Story(CHAIN), Clock()

    def broken() -> None:
        with LiveView(CHAIN, story, out, clock) as view:
            clock.now += 1
            view.tick()
            view.echo("fetch", b"its last words")
            raise ValueError("the store is gone")

    with pytest.raises(ValueError, match="the store is gone"):
        broken()
    assert "\x1b[?" not in out.text
    assert "its last words" in out.text
    assert story.looks == 1


def test_a_terminal_that_becomes_narrower_wraps_the_picture_and_the_next_one_covers_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, story, clock = Terminal(), Story(WIDE), Clock()
    with LiveView(WIDE, story, out, clock) as view:
        view.echo("left", b"before\n")
        clock.now += 1
        view.tick()
        monkeypatch.setenv("COLUMNS", "33")
        wrapped, seen = "\n".join(on_screen(out.text)) + "\n", len(out.text)
        assert max(map(len, wrapped.split("\n"))) > 33
        clock.now += 1
        view.tick()
        shown = on_screen(wrapped + out.text[seen:], 33)
    assert [line for line in shown if "running" in line] == [shown[1]]
    assert shown[0] == "left │ before"
    assert shown[-1].startswith("└")


def test_what_was_on_the_screen_stays_when_a_stopped_command_goes_on() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        clock.now += 1
        view.tick()
        out.write("[1]+  Stopped\n$ fg\n")
        os.kill(os.getpid(), signal.SIGCONT)
        for _ in range(2):
            clock.now += 1
            view.tick()
    shown = on_screen(out.text)
    at = shown.index("$ fg")
    assert [sum("fetch" in line for line in part) for part in (shown[:at], shown[at:])] == [1, 1]
    assert signal.getsignal(signal.SIGCONT) is signal.SIG_DFL


def test_a_long_line_of_a_node_is_shown_whole() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        clock.now += 1
        view.tick()
        view.echo("fetch", b"word " * 30 + b"end\n")
        clock.now += 1
        view.tick()
        shown = on_screen(out.text)
    assert "".join(shown).count("word") == 30
    assert sum("waiting" in line for line in shown) == 1


def test_what_nodes_print_stands_above_the_picture() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        clock.now += 1
        view.tick()
        view.echo("fetch", b"half a ")
        view.echo("parse", b"other\n")
        view.echo("fetch", b"line\n")
        clock.now += 1
        view.tick()
    assert "half a line" in out.text
    assert out.text.index("other") < out.text.index("half a line")
    assert out.text.rindex("fetch") > out.text.index("half a line")


def test_output_of_a_short_run_is_not_lost() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        view.echo("fetch", b"no end of line")
    assert "no end of line" in out.text


def test_a_small_terminal_gets_the_compact_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")
    out, story, clock = Terminal(), Story(FAN), Clock()
    story.nodes = [node("each", "running", 0, width=500, done=37)]
    with LiveView(FAN, story, out, clock):
        pass
    assert "37/500" in out.text
    assert "╭" not in out.text
    assert len(out.text.splitlines()) <= 10


def test_ascii_terminals_get_ascii() -> None:
    out, story, clock = Terminal("latin-1"), Story(CHAIN), Clock()
    with LiveView(CHAIN, story, out, clock) as view:
        view.echo("fetch", "naïve ▲".encode())
        clock.now += 1
        view.tick()
    assert out.text.isascii()


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    story.nodes = [node("fetch", "failed", 0, 1)]
    with LiveView(CHAIN, story, out, clock) as view:
        clock.now += 1
        view.tick()
    assert "\x1b[31m" not in out.text
    assert "\x1b[1;31m" not in out.text


def test_a_screen_is_what_its_stream_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert screen(Terminal()) == (60, 30, True, True)
    assert screen(Terminal("ascii")) == (60, 30, True, False)
    assert screen(io.StringIO()).color is False
    monkeypatch.setenv("TERM", "dumb")
    assert screen(Terminal()).color is False
    monkeypatch.delenv("COLUMNS")
    monkeypatch.delenv("LINES")
    assert screen(io.StringIO())[:2] == (80, 24)


@pytest.mark.parametrize(
    ("variable", "value", "unicode"),
    [
        ("LC_ALL", "C", False),
        ("LANG", "POSIX", False),
        ("LC_CTYPE", "C.UTF-8", True),
        ("LANG", "", True),
    ],
)
def test_the_locale_can_ask_for_ascii(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, unicode: bool
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONIOENCODING", "PYTHONUTF8"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert screen(Terminal()).unicode is unicode
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    assert screen(Terminal()).unicode is True


@pytest.mark.parametrize(("asked", "ascii"), [("C", True), ("C.UTF-8", False), ("", False)])
def test_python_that_takes_c_for_utf_8_does_not_hide_what_was_asked_for(
    asked: str, ascii: bool
) -> None:
    """Where LANG is C, Python sets LC_CTYPE itself (PEP 538)."""
    code = (
        "import sys; from goflow_cli.views.drawing import screen; print(screen(sys.stdout).unicode)"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"LANG": asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(not ascii)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story(CHAIN)
    assert isinstance(view(CHAIN, story, story, Terminal()), LiveView)
    assert isinstance(view(CHAIN, story, story, io.StringIO()), PlainView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view(CHAIN, story, story, Terminal()), PlainView)


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"10%\r20%\r30%\n"], ["30%"]),
        ([b"dos\r\n"], ["dos"]),
        ([b"\x1b[2J\x1b]0;title\x07ok\n"], ["ok"]),
        ([b"\xff\x00\n"], ["��"]),
        ([b"\xe6\x97", b"\xa5\n"], ["日"]),
        ([b"x" * 5000], ["x" * 4096, "x" * 904]),
    ],
)
def test_output_becomes_whole_harmless_lines(pieces: list[bytes], lines: list[str]) -> None:
    output = Output()
    for piece in pieces:
        output.add("fetch", piece)
    output.close()
    assert ["".join(text for text, _ in line[1:]) for line in output.take()] == lines


# without a terminal


def plain_lines(text: str) -> list[str]:
    """The lines without their time of day."""
    return [line[9:] for line in text.splitlines()]


def told(plan: Plan, *steps: dict[str, Any]) -> list[str]:
    """What is written while a run goes through these steps, a minute apart."""
    out, story, clock = io.StringIO(), Story(plan), Clock()
    with PlainView(plan, story, out, clock) as view:
        for step in steps:
            story.state = step.get("state", "running")
            story.nodes = step["nodes"]
            clock.now += 60
            view.tick()
    return plain_lines(out.getvalue())


def test_each_change_of_state_is_one_line() -> None:
    first = [node("fetch", "running", 0)]
    second = [node("fetch", "succeeded", 0, 1.2), node("parse", "retrying", 2, error="E: x")]
    third = [second[0], node("parse", "running", 3, attempt=2)]
    fourth = [second[0], node("parse", "failed", 3, 4, attempt=2, error="E:\nbad")]
    assert told(
        CHAIN,
        {"nodes": first},
        {"nodes": second},
        {"nodes": third},
        {"nodes": third},
        {"nodes": fourth, "state": "failed"},
    ) == [
        "fetch running",
        "fetch succeeded 1.2 s",
        "parse retrying: E: x",
        "parse running (attempt 2)",
        "parse failed 1.0 s: E: bad",
    ]


def test_a_foreach_is_told_as_progress_and_failures() -> None:
    opened = [node("each", "running", 0, width=3, done=1), node("each[a]/a", "succeeded", 0, 1)]
    failed = [
        node("each", "running", 0, width=3, done=2),
        node("each[b]/a", "failed", 0, 2, error="boom"),
    ]
    assert told(FAN, {"nodes": opened}, {"nodes": failed, "state": "failed"}) == [
        "each running",
        "each 1/3",
        "each[b]/a failed 2.0 s: boom",
        "each failed (2/3)",
    ]


def test_changes_between_two_looks_come_in_the_order_they_happened() -> None:
    nodes = [node("parse", "succeeded", 1.5, 3), node("fetch", "succeeded", 0, 1)]
    assert told(CHAIN, {"nodes": nodes}) == ["fetch succeeded 1.0 s", "parse succeeded 1.5 s"]


def test_handlers_are_told() -> None:
    nodes = [node("~on_failure", "succeeded", 1, 2), node("~finally", "failed", 2, 3, error="E")]
    assert told(CHAIN, {"nodes": nodes, "state": "failed"}) == [
        "~on_failure succeeded 1.0 s",
        "~finally failed 1.0 s: E",
    ]


def test_lines_without_a_terminal_carry_no_escapes() -> None:
    out, story, clock = Terminal(), Story(CHAIN), Clock()
    story.nodes = [node("fetch", "failed", 0, 1, error="\x1b[2J")]
    with PlainView(CHAIN, story, out, clock) as view:
        assert view.tick() == pytest.approx(plain.SOONEST)
    assert plain_lines(out.text) == ["fetch failed 1.0 s: \\x1b[2J"]


def test_what_nodes_print_is_told_line_by_line_with_their_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo = Echo()
    first, second = (Task("r", "f", "", path, path) for path in ("fetch", "parse"))
    echo.printed(first, b"half a ")
    echo.printed(second, b"\x1b[2Jother\n")
    echo.printed(first, b"line\n10%\r20%\nno end")
    echo.finished(Outcome(first, 0, 1), True)
    assert capsys.readouterr().err.splitlines() == [
        "parse │ other",
        "fetch │ half a line",
        "fetch │ 20%",
        "fetch │ no end",
    ]
