"""What is released: a wheel made from the sdist holds all that goflow needs, and nothing of the house."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as an installer does it from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    (made,) = folder.glob("*.whl")
    return made


def build(source: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    shelf = ("goflow", "goflow_cli", "backends/goflow_local", "backends/goflow_redis")
    tracked = subprocess.run(
        ["git", "ls-files", *shelf], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("no git here to ask which files there are")
    expected = {name.removeprefix("backends/") for name in tracked}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected


def test_the_wheel_runs_a_flow(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "flow.py").write_text(
        "def define_workflow(workflow, context):\n"
        "    workflow.dag.node('where', lambda data: __import__('goflow').__file__)\n"
    )
    command = [sys.executable, "-c", "from goflow_cli.main import run; run()"]
    done = subprocess.run(
        [*command, "run", "flow.py", "--ephemeral"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "installed" / "goflow" / "__init__.py")
