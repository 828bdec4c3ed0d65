"""What the tests start is as it would be from a terminal, wherever they themselves were started from."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("name", "usual"), [("INT", "default_int_handler"), ("HUP", "0")])
def test_what_the_tests_start_hears_signals_that_a_shell_or_nohup_had_ignored(
    name: str, usual: str
) -> None:
    asks = f"import signal; print(signal.getsignal(signal.SIG{name}))"
    starts = (
        "import subprocess, sys\n"
        f"def ask(): subprocess.run([sys.executable, '-c', {asks!r}], check=True)\n"
        "ask()\nimport tests.conftest\nask()\n"
    )
    command = ["sh", "-c", f'trap "" {name}; exec "$0" -c "$1"', sys.executable, starts]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ignored, heard = told.splitlines()
    assert ignored == "1"
    assert usual in heard
