"""Every example does what its first line says: in the test's own process, and as the command given there."""

from __future__ import annotations

import argparse
import ast
import csv
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from goflow.config import load_config
from goflow.errors import RunFailed
from goflow.loader import load, load_all, pick
from goflow.testing import run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
GOFLOW = Path(sys.executable).with_name("goflow")


class Example(NamedTuple):
    """The first line of an example's docstring, `SHOWS: goflow run FILE [OPTION VALUE]...`, taken apart."""

    file: Path
    shows: str
    command: str

    @property
    def options(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument("--flow")
        parser.add_argument("--data", default="")
        parser.add_argument("--query", action="append", default=[])
        return parser.parse_args(shlex.split(self.command)[3:])


class Ran(NamedTuple):
    """What an example gave: its result as text, what its nodes printed, and its output folder."""

    result: str
    printed: str
    out: Path


Check = Callable[[Ran], None]


def is_text(text: str) -> Check:
    def check(ran: Ran) -> None:
        assert ran.result == text

    return check


def handlers_were_called(ran: Ran) -> None:
    assert ran.result == "22.10 dollars"
    assert (
        "fee failed (TimeoutError: the fee service is asleep): taking the usual fee" in ran.printed
    )
    assert "the quote has succeeded" in ran.printed
    assert "no quote today" not in ran.printed


def pages_were_written(ran: Ran) -> None:
    assert json.loads(ran.result) == ["about.html", "index.html"]
    for page in ("about.html", "index.html"):
        assert "<h1>Tea house</h1>" in (ran.out / page).read_text()


def pictures_were_shrunk(ran: Ran) -> None:
    sizes = {
        "mandelbrot.png": (96, 96),
        "mountains.png": (72, 96),
        "night.png": (96, 36),
        "sunset.png": (96, 60),
        "tartan.png": (96, 96),
    }
    *told, sheet = ran.result.splitlines()
    assert told == [f"{name} {width}x{height}" for name, (width, height) in sizes.items()]
    assert {path.name for path in ran.out.glob("*.png")} == set(sizes)
    for name, size in sizes.items():
        assert size_of(ran.out / name) == size
    assert Path(sheet) == ran.out / "sheet.jpg"
    assert size_of(ran.out / "sheet.jpg") == (5 * 96, 96)


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        image.load()
        return image.size


def words_were_counted(ran: Ran) -> None:
    corpus = " ".join(file.read_text() for file in (EXAMPLES / "corpus").glob("*.txt")).lower()
    *lines, total = ran.result.splitlines()
    assert len(lines) == 8
    counts = [(line.split()[1], int(line.split()[0])) for line in lines]
    assert counts[0][0] == "the"
    assert counts == sorted(counts, key=lambda pair: -pair[1])
    for word, count in counts:
        assert count == len(re.findall(rf"(?<![a-z']){word}(?![a-z']*[a-z])", corpus)), word
    assert total.split() == ["653", "words,", "300", "different", "ones"]


def orders_were_loaded(ran: Ran) -> None:
    assert json.loads(ran.result) == {"PT": 288.25, "DE": 180.85, "FR": 101.8, "NL": 64.15}
    with closing(sqlite3.connect(ran.out / "orders.db")) as db:
        rows = db.execute("SELECT id, country, quantity, cents FROM orders").fetchall()
    assert len(rows) == 11
    assert (1005, "DE", 3, 1995) in rows
    with (ran.out / "rejected.csv").open(newline="") as lines:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(lines)}
    assert reasons.keys() == {"1004", "1007", "1009", "1012", "1015"}
    assert reasons["1004"] == "quantity must be 1 or more: 0"
    assert reasons["1012"] == "not a country code: 'Spain'"


#: what each file's own command must give; a new example needs a line here
EXPECTED: dict[str, Check] = {
    "condition": is_text(
        "We look into your payment today. Please send us the log file.\nYours, the support team"
    ),
    "context_store": is_text("context_store: 18 characters became 12: a long story"),
    "etl": orders_were_loaded,
    "execution_only": pages_were_written,
    "foreach": is_text("60 = 2 x 2 x 3 x 5\n97 = 97\n1001 = 7 x 11 x 13"),
    "handlers": handlers_were_called,
    "kyc": is_text("alice verified: faces found: 1, 100% alike"),
    "myflow": is_text('you said "hallo"'),
    "nested": is_text('{"ann":29,"bob":-6}'),
    "parallel": is_text("mean 4, median 3.5, spread 7"),
    "serial": is_text("joy-tea"),
    "subdag": is_text("1 of 3 words in common: tea"),
    "thumbnails": pictures_were_shrunk,
    "wordcount": words_were_counted,
}


def example(name: str) -> Example:
    file = EXAMPLES / f"{name}.py"
    doc = ast.get_docstring(ast.parse(file.read_text())) or ""
    shows, _, command = doc.partition("\n")[0].partition(": goflow run ")
    return Example(file, shows, f"goflow run {command}")


def names() -> list[str]:
    return sorted(file.stem for file in EXAMPLES.glob("*.py"))


def test_every_example_has_an_expectation() -> None:
    assert names() == sorted(EXPECTED)


@pytest.mark.parametrize("name", names())
def test_the_first_line_tells_what_it_shows_and_the_command(name: str) -> None:
    told = example(name)
    assert told.shows
    assert shlex.split(told.command)[:3] == ["goflow", "run", f"examples/{name}.py"]


@pytest.mark.parametrize("name", names())
def test_it_runs_in_the_tests_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = example(name).options
    flow = pick(load(example(name).file), options.flow)
    query = {key: [value] for key, _, value in (pair.partition("=") for pair in options.query)}
    result = run(flow, options.data, {**query, "out": [str(tmp_path / "out")]})
    EXPECTED[name](Ran(result.text(), capsys.readouterr().out, tmp_path / "out"))


@pytest.mark.parametrize("name", names())
def test_its_command_does_what_it_says(name: str, tmp_path: Path) -> None:
    done = goflow(example(name).command, tmp_path, "--query", f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    EXPECTED[name](Ran(done.stdout, done.stderr, tmp_path / "out"))


def goflow(command: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A command as it stands in an example, given in another folder and leaving nothing behind."""
    _, *arguments = shlex.split(command)
    arguments = [str(ROOT / a) if a.startswith("examples/") else a for a in arguments]
    return subprocess.run(
        [GOFLOW, *arguments, *more, "--ephemeral"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_goflow_toml_registers_them_all_under_different_names() -> None:
    config = load_config(ROOT)
    flows = load_all(config.flows, config.base)
    assert {Path(flow.file).stem for flow in flows.values()} == set(names())
    assert set(flows) == {*names(), "kyc-serial", "kyc-parallel", "kyc-batch"}


def test_goflow_toml_lets_a_flow_be_drawn_by_its_name() -> None:
    done = subprocess.run(
        [GOFLOW, "graph", "myflow"], cwd=EXAMPLES, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "test" in done.stdout


def test_the_readme_lists_them_with_the_same_words() -> None:
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in (EXAMPLES / "README.md").read_text().splitlines()
        if line.startswith("| [")
    ]
    told = [example(name) for name in names()]
    assert sorted(rows) == sorted(
        [f"[{each.file.stem}]({each.file.name})", each.shows, f"`{each.command}`"] for each in told
    )


@pytest.mark.parametrize(
    ("ticket", "answer"),
    [
        ("My invoice is wrong", "We look into your payment today."),
        ("It crashes", "Please send us the log file."),
        ("Hello", "Could you tell us more about 'Hello'?"),
    ],
)
def test_condition_takes_the_branch_that_fits(ticket: str, answer: str) -> None:
    text = run(EXAMPLES / "condition.py", ticket).text()
    assert text == f"{answer}\nYours, the support team"


def test_handlers_hear_of_the_last_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunFailed, match="expected float"):
        run(EXAMPLES / "handlers.py", "twenty")
    printed = capsys.readouterr().out
    assert "no quote today: exchange gave up after attempt 3" in printed
    assert "the quote has failed" in printed


def test_handlers_are_told_when_the_run_fails(tmp_path: Path) -> None:
    done = goflow("goflow run examples/handlers.py --data twenty", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no quote today: exchange gave up after attempt 3" in done.stderr
    assert "the quote has failed" in done.stderr
    assert "expected float" in done.stderr


@pytest.mark.parametrize(
    ("flow", "people", "told"),
    [
        ("kyc-serial", "bob", r"bob verified: faces found: 1"),
        ("kyc-parallel", "bob", r"bob rejected: faces found: 1, 45% alike"),
        ("kyc", "bob", r"bob to review \(ticket [0-9a-f]{8}\): faces found: 1, 45% alike"),
        ("kyc", "carol", r"carol to review \(ticket [0-9a-f]{8}\): faces found: 2, 100% alike"),
        ("kyc-batch", "alice bob", r"alice verified: .*\nbob to review .*"),
    ],
)
def test_kyc_tells_who_passes(flow: str, people: str, told: str) -> None:
    result = run(load(EXAMPLES / "kyc.py")[flow], people).text()
    assert re.fullmatch(told, result), result


def test_kyc_fails_for_somebody_it_does_not_know() -> None:
    with pytest.raises(RunFailed, match="no profile 'dave'; there are alice, bob, carol"):
        run(load(EXAMPLES / "kyc.py")["kyc"], "dave")


def test_pages_show_markup_as_text(tmp_path: Path) -> None:
    run(EXAMPLES / "execution_only.py", "<b>Tea</b>", {"out": [str(tmp_path)]})
    assert "<h1>&lt;b&gt;Tea&lt;/b&gt;</h1>" in (tmp_path / "index.html").read_text()


def test_etl_without_rejected_rows_leaves_no_file_of_the_last_time(tmp_path: Path) -> None:
    query = {"out": [str(tmp_path / "out")]}
    run(EXAMPLES / "etl.py", "", query)
    clean = tmp_path / "clean.csv"
    clean.write_text("id,day,country,quantity,price\n1,2026-03-02,NL,2,12.50\n")
    assert run(EXAMPLES / "etl.py", str(clean), query).json() == {"NL": 25.0}
    assert not (tmp_path / "out" / "rejected.csv").exists()


def test_thumbnails_have_the_size_asked_for(tmp_path: Path) -> None:
    run(EXAMPLES / "thumbnails.py", "", {"size": ["32"], "out": [str(tmp_path)]})
    assert size_of(tmp_path / "sunset.png") == (32, 20)


def test_thumbnails_never_replace_the_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "only.png")
    with pytest.raises(RunFailed, match="would replace the pictures"):
        run(EXAMPLES / "thumbnails.py", str(tmp_path), {"out": [str(tmp_path)]})
    assert size_of(tmp_path / "only.png") == (300, 200)


def test_thumbnails_without_pillow_say_so_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        RunFailed, match=r"this example needs Pillow: python -m pip install Pillow$"
    ):
        run(EXAMPLES / "thumbnails.py", "", {"out": [str(tmp_path)]})
