"""A folder of its own for every test, with flows in it, and no trace in the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.shell import FLOWS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a project with goflow.toml and flows.py."""
    for name in [name for name in os.environ if name.startswith("GOFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "goflow.toml").write_text('flows = ["flows.py"]\n')
    (folder / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(folder)
    return folder
