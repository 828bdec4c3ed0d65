"""Where peers live: a venv or an npm folder each, made on first use, outside the repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.field.peers import Peer

CACHE = Path(os.environ.get("GOFLOW_BENCH_CACHE") or "~/.cache/goflow-bench").expanduser()
#: seconds an installation may take
PATIENCE = 300


def interpreter(peer: Peer) -> list[str]:
    """The command that runs this peer's adapter; installs the peer where it is missing."""
    if not peer.packages:
        return [sys.executable]
    home = _home(peer)
    if not (home / "ready").exists():
        print(f"{peer.name}: installing {', '.join(peer.packages)} into {home}", file=sys.stderr)
        home.mkdir(parents=True, exist_ok=True)
        for command in _installation(peer, home):
            subprocess.run(command, check=True, timeout=PATIENCE, cwd=home, stdout=sys.stderr)
        (home / "ready").touch()
    return ["node"] if peer.node else [str(home / "bin" / "python")]


def environment(peer: Peer) -> dict[str, str]:
    """What its processes need to find it."""
    if peer.node:
        return {"NODE_MODULES": str(_home(peer) / "node_modules")}
    return {}


def bin_of(peer: Peer, name: str) -> str:
    """A command that came with the peer."""
    folder = Path(sys.executable).parent if not peer.packages else _home(peer) / "bin"
    return str(folder / name)


def _home(peer: Peer) -> Path:
    pins = hashlib.sha256("\n".join(peer.packages).encode()).hexdigest()[:8]
    return CACHE / f"{peer.name}-{pins}"


def _installation(peer: Peer, home: Path) -> list[list[str]]:
    if peer.node:
        quiet = ["--silent", "--no-audit", "--no-fund"]
        return [["npm", "install", *quiet, "--prefix", ".", *peer.packages]]
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    return [
        [sys.executable, "-m", "venv", str(home)],
        [*pip, "--disable-pip-version-check", *peer.packages],
    ]
