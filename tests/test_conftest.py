"""The tests are the same in the foreground and in the background of a shell."""

from __future__ import annotations

import subprocess
import sys


def test_what_the_tests_start_hears_ctrl_c_though_a_shell_had_it_ignored() -> None:
    asks = "import signal; print(signal.getsignal(signal.SIGINT))"
    starts = (
        "import subprocess, sys\n"
        f"def ask(): subprocess.run([sys.executable, '-c', {asks!r}], check=True)\n"
        "ask()\nimport tests.conftest\nask()\n"
    )
    command = ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, starts]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ignored, heard = told.splitlines()
    assert ignored == "1"
    assert "default_int_handler" in heard
