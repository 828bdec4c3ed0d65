"""The docs say what is so: their flows run, their console examples print what they show, their links lead
somewhere, and goflow.toml is shown with every key and its default.

A fence that begins with ```console run is executed, command by command, in one folder per page and in the order
of the page. A code block whose first line is a comment with a file name is that file from there on. A
command ends with exit code 0 unless `$ echo $?` follows; one that ends with ` &` runs until `$ kill %1`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from goflow.config import KEYS, load_config
from goflow.testing import run

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide.md"
BACKENDS = ROOT / "docs" / "backends.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
ANSWERS = ROOT / "docs" / "answers"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])

FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.(?:py|toml))\n")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: what differs from run to run, and what stands for it; first the lines that tell how a run goes
CHANGING = (
    (r"(?m)^\d\d:\d\d:\d\d \S+ (?:running|retrying|succeeded|failed|stopped|\d+/\d+).*\n", ""),
    (r"\d+(?:\.\d+)? m?s\b", "N s"),
    (r"\d+\.\d+s\b", "N s"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b01[0-9a-z]{18}\b", "RUN"),
    (r"\b[0-9a-f]{16}\b", "FINGERPRINT"),
    (r"(?<=N s )\s*[0-9a-f]{8}\b", "DIGEST"),
    (r"[0-9a-f]{8} ran then, this is [0-9a-f]{8}", "DIGESTS"),
    (r"\S+:\d+(?=\s+alive)", "WORKER"),
    (r"[\s─]+", " "),
)
#: seconds after which a command that should have ended is given up
PATIENCE = 60.0


class Block(NamedTuple):
    """A fenced block of a page: its words after the backticks, its text, and the line it begins on."""

    kind: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        found = FILE_NAME.match(self.text)
        return found[1] if found else None


class Command(NamedTuple):
    """A command of a console block and what the page shows it to print, or the exit code it shows."""

    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1].strip(), found[2], text[: found.start()].count("\n") + 1)
        for found in FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with `$ `"
    split = [part.partition("\n") for part in parts[1:]]
    return [Command(text, shown) for text, _, shown in split]


def defines_a_flow(block: Block) -> bool:
    return "def define_workflow" in block.text or "@goflow.flow" in block.text


def plain(text: str, folder: Path) -> str:
    """Output without what changes from run to run."""
    text = text.replace(str(folder), "/home/you/project")
    for pattern, stand_in in CHANGING:
        text = re.sub(pattern, stand_in, text)
    return text.strip()


class Shell:
    """Executes the commands of a page, both streams in one as a terminal shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = 0
        self.background: subprocess.Popen[str] | None = None

    def run(self, command: str) -> str:
        if command == "echo $?":
            code, self.code = self.code, 0
            return str(code)
        if command == "kill %1":
            return self._end()
        process = subprocess.Popen(
            ["bash", "-c", command.removesuffix(" &")],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if command.endswith(" &"):
            assert process.stdout is not None
            assert self.background is None, "one command in the background at a time"
            self.background = process
            return process.stdout.readline()
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate(timeout=PATIENCE)
            pytest.fail(f"`{command}` did not end; it printed:\n{output}")
        self.code = process.returncode
        return output

    def _end(self) -> str:
        assert self.background is not None
        os.killpg(self.background.pid, signal.SIGTERM)
        output, _ = self.background.communicate(timeout=PATIENCE)
        self.background = None
        return output

    def close(self) -> None:
        if self.background is not None:
            os.killpg(self.background.pid, signal.SIGKILL)
            self.background.communicate(timeout=PATIENCE)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell in an empty folder that finds our `goflow` first and knows nothing of the user's."""
    for name in [name for name in os.environ if name.startswith("GOFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.setenv("PYTHONUTF8", "1")
    monkeypatch.setenv("COLUMNS", "100")
    folder = tmp_path / "project"
    folder.mkdir()
    opened = Shell(folder)
    yield opened
    opened.close()


def follow(page: Path, shell: Shell) -> list[str]:
    """Do what a page says, and compare. The files with flows that it brought along."""
    files: list[str] = []
    for block in blocks(page):
        if block.file is not None:
            (shell.folder / block.file).write_text(block.text, encoding="utf-8")
            if defines_a_flow(block):
                files.append(block.file)
        if block.kind == "console run":
            steps = commands(block)
            for number, step in enumerate(steps):
                at = f"{page.name}:{block.line}: $ {step.text}"
                printed = shell.run(step.text)
                assert plain(printed, shell.folder) == plain(step.shown, shell.folder), at
                asked = number + 1 < len(steps) and steps[number + 1].text == "echo $?"
                assert asked or shell.code == 0, f"{at}\nended with {shell.code}:\n{printed}"
    return files


@pytest.mark.timeout(600)  # some sixty processes, one after the other
def test_the_guides_examples_print_what_they_show(shell: Shell) -> None:
    files = dict.fromkeys(follow(GUIDE, shell))
    flows = re.findall(r"^ok +(\S+)", shell.run(f"goflow check {' '.join(files)}"), re.MULTILINE)
    ran = [line.split()[1] for line in shell.run("goflow runs --limit 1000").splitlines()[1:]]
    assert flows
    assert set(flows) <= set(ran), "flows of the guide that none of its examples runs"


def test_the_tutorial_can_be_followed_word_by_word(shell: Shell) -> None:
    follow(TUTORIAL, shell)
    tested = shell.run(f"{sys.executable} -m pytest -q test_week.py -p no:cacheprovider")
    assert "1 passed" in tested


def test_the_walk_through_a_backend_prints_what_it_shows(shell: Shell) -> None:
    follow(BACKENDS, shell)


def test_the_answer_to_a_failure_is_what_its_commands_print(shell: Shell) -> None:
    follow(ANSWERS / "failed.md", shell)


def test_every_question_has_its_page() -> None:
    listed = set(LINK.findall((ANSWERS / "README.md").read_text(encoding="utf-8")))
    assert {page.name for page in ANSWERS.glob("*.md")} - {"README.md"} <= listed


def test_every_flow_of_the_guide_is_a_file_its_examples_can_run() -> None:
    nameless = [b.line for b in blocks(GUIDE) if defines_a_flow(b) and b.file is None]
    assert not nameless, "their first line should be a comment with a file name"


#: what the flows of the README are run on, in order, and what comes out
README_RUNS = [
    ("greet", "hallo", 'you said "hallo"'),
    ("count", "one two\fthree", "3 words"),
]


def test_the_readmes_flows_do_what_it_says(tmp_path: Path) -> None:
    found = [block for block in blocks(README) if block.kind == "python" and defines_a_flow(block)]
    assert len(found) == len(README_RUNS)
    for block, (name, data, result) in zip(found, README_RUNS, strict=True):
        assert name in block.text
        file = tmp_path / f"readme_{name}.py"
        file.write_text(block.text, encoding="utf-8")
        assert run(file, data).text() == result


def test_the_guide_shows_every_key_of_goflow_toml_with_its_default() -> None:
    (shown,) = (b for b in blocks(GUIDE) if b.kind == "toml" and "[retention]" in b.text)
    document = tomllib.loads(shown.text)
    sections = {key: value for key, value in document.items() if isinstance(value, dict)}
    top = document.keys() - sections.keys()
    told = {"": top, **{name: value.keys() for name, value in sections.items()}}
    assert told == {name: keys.keys() for name, keys in KEYS.items()}


def test_the_goflow_toml_of_the_guide_changes_nothing(tmp_path: Path) -> None:
    (shown,) = (b for b in blocks(GUIDE) if b.kind == "toml" and "[retention]" in b.text)
    (tmp_path / "goflow.toml").write_text(shown.text, encoding="utf-8")
    found = load_config(tmp_path, environ={})
    (tmp_path / "goflow.toml").write_text(f"flows = {list(found.flows)}\n", encoding="utf-8")
    assert found == load_config(tmp_path, environ={})


def test_the_tests_that_the_docs_name_are_there() -> None:
    folders = [ROOT / "tests", ROOT / "goflow" / "testing"]
    sources = [path.read_text(encoding="utf-8") for at in folders for path in at.rglob("*.py")]
    known = set(re.findall(r"def (test_\w+)", "\n".join(sources)))
    for page in PAGES:
        named = set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")))
        assert named <= known, f"{page.name} names tests that are gone: {named - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for target in LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked to as."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
