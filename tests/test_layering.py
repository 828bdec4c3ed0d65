"""Dependence runs one way, and what is heavy is imported where it is used: start-up time is a feature."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
BACKENDS = sorted(path.name for path in (ROOT / "backends").glob("goflow_*"))

#: what costs tens of milliseconds to import, and so is never imported just because goflow is
HEAVY = {
    "asyncio",
    "dataclasses",
    "multiprocess",
    "opentelemetry",
    "pydantic",
    "redis",
    "rich",
    "starlette",
    "tomllib",
    "uvicorn",
}
#: where using some of it is the whole purpose: imported on demand only
AT_HOME = (
    "goflow/async_client.py",
    "goflow/server/",
    "goflow/testing/",
    "goflow/toml_text.py",
    "goflow/userspans.py",
)


def test_a_process_of_ours_is_started_in_one_way() -> None:
    """One that keeps the current folder out of what it imports from: see goflow/own.py."""
    starting = [
        m.name for f in ("goflow", "goflow_cli") for m in modules(f) if '"-m"' in m.read_text()
    ]
    assert starting == ["own.py"]


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no module in {folder}"
    return found


def imported(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The top-level package and the line of every import below a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            yield from ((alias.name.partition(".")[0], each.lineno) for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
            yield each.module.partition(".")[0], each.lineno


def imported_at_once(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """The same for what importing the module executes: no functions, nothing for type checkers alone."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            yield from imported_at_once(statement.orelse)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from imported(statement)
        else:
            for field in ("body", "orelse", "finalbody", "handlers"):
                for each in getattr(statement, field, []):
                    inner = each.body if isinstance(each, ast.ExceptHandler) else [each]
                    yield from imported_at_once(inner)


class Module(NamedTuple):
    """What a module says about itself: (package, line) of its imports, all and those made at once."""

    imports: list[tuple[str, int]]
    at_once: list[tuple[str, int]]
    statements: list[tuple[str, int]]
    has_annotations: bool
    text: str


@cache
def read(path: Path) -> Module:
    text = path.read_text()
    tree = ast.parse(text, str(path))
    return Module(
        imports=list(imported(tree)),
        at_once=list(imported_at_once(tree.body)),
        statements=[
            (ast.unparse(each), each.lineno)
            for each in tree.body
            if isinstance(each, ast.Import | ast.ImportFrom)
        ],
        has_annotations=any(isinstance(n, ast.FunctionDef | ast.AnnAssign) for n in ast.walk(tree)),
        text=text,
    )


def offences(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(folder)
        for name, line in read(path).imports
        if name in forbidden
    ]


def test_goflow_imports_neither_the_commands_nor_a_backend() -> None:
    assert offences("goflow", {"goflow_cli", *BACKENDS}) == []


def test_the_commands_name_no_backend() -> None:
    assert offences("goflow_cli", set(BACKENDS)) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_imports_neither_the_commands_nor_another_backend(backend: str) -> None:
    assert offences(f"backends/{backend}", {"goflow_cli", *BACKENDS} - {backend}) == []


@pytest.mark.parametrize("folder", ["goflow", "goflow_cli", "backends", "tests", "examples"])
def test_nobody_imports_the_shelf(folder: str) -> None:
    assert offences(folder, {"backends"}) == []


@pytest.mark.parametrize("folder", ["goflow", "goflow_cli", "backends"])
def test_the_product_needs_no_test_tools(folder: str) -> None:
    found = [
        offence
        for offence in offences(folder, {"pytest", "hypothesis", "tests"})
        if not offence.startswith("goflow/testing/")
    ]
    assert found == []


def test_every_module_of_goflow_imports_what_is_heavy_where_it_is_used() -> None:
    found = []
    for path in modules("goflow"):
        name = path.relative_to(ROOT).as_posix()
        for package, line in read(path).at_once:
            if package in HEAVY and not name.startswith(AT_HOME):
                found.append(f"{name}:{line} imports {package} at module level")
    assert found == []


def test_what_is_at_home_with_it_is_imported_where_it_is_used() -> None:
    homes = {home.removesuffix(".py").strip("/").replace("/", ".") for home in AT_HOME}
    found = []
    for path in modules("goflow"):
        name = path.relative_to(ROOT).as_posix()
        # the package itself names them for type checkers only
        if name.startswith((*AT_HOME, "goflow/__init__.py")):
            continue
        for text, line in read(path).statements:
            if any(home in text for home in homes):
                found.append(f"{name}:{line} {text}")
    assert found == []


@pytest.mark.parametrize("folder", ["goflow", "goflow_cli", "backends"])
def test_every_module_leaves_its_annotations_alone(folder: str) -> None:
    wanted = "from __future__ import annotations"
    found = [
        str(path.relative_to(ROOT))
        for path in modules(folder)
        if read(path).has_annotations and wanted not in read(path).text
    ]
    assert found == []


def loaded_by(code: str, folder: Path, *arguments: str) -> set[str]:
    """The top-level packages that a fresh interpreter imports while it runs this code."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "module", ["goflow", "goflow.worker", "goflow.client", "goflow.loader", "goflow_cli.main"]
)
def test_importing_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    assert loaded_by(f"import {module}", tmp_path) & HEAVY == set()


def test_every_public_name_but_the_asynchronous_client_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import goflow\nfor name in set(goflow.__all__) - {'AsyncClient'}: getattr(goflow, name)"
    assert loaded_by(code, tmp_path) & HEAVY == set()


def test_a_run_from_the_command_line_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "def define_workflow(workflow, context):\n    workflow.dag.node('test', bytes.upper)\n"
    )
    (tmp_path / "goflow.toml").write_text('[local]\npath = "store"\n')
    code = "from goflow_cli.main import run; run()"
    loaded = loaded_by(code, tmp_path, "run", "flow.py", "--data", "hallo")
    assert {"goflow", "goflow_local"} <= loaded
    assert loaded & HEAVY == {"tomllib"}, "and that only because there is a goflow.toml"
