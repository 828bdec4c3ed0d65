"""Where figures were measured: the machine and the versions that make a difference."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.redis.server import binary


def machine() -> str:
    """One sentence: cores, processor, system, interpreter, server, date."""
    cores = f"{os.cpu_count()} cores ({_processor()})"
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    told = [cores, system, python, _version(binary(), "--version"), _version("node", "--version")]
    return ", ".join([*filter(None, told), time.strftime("%Y-%m-%d")])


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _version(program: str, option: str) -> str:
    """What a program says of itself, or nothing where it is missing."""
    with suppress(OSError):
        told = subprocess.run([program, option], capture_output=True, text=True, check=False).stdout
        words = told.split()
        if "v=" in told:
            number = next(word for word in words if word.startswith("v="))
            return f"{Path(program).name} {number[2:]}"
        return f"{Path(program).name} {words[0].lstrip('v')}" if words else ""
    return ""
