"""`--detach`: the same command, in a background process that outlives this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from goflow.backend import Run
from goflow_cli.exit_codes import DONE


def detached(execute: Callable[[Callable[[Run], None]], int]) -> int:
    """Run `execute` in a session of its own and print the run id once the run is accepted.

    Until then it speaks on our stderr and its exit code is ours; afterwards it is silent.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        _background(execute, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        run_id = told.read().decode()
    if not run_id:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    print(run_id)
    return DONE


def _background(execute: Callable[[Callable[[Run], None]], int], writing: int) -> None:
    from goflow_cli.main import answer

    def accepted(run: Run) -> None:
        os.write(writing, run.id.encode())
        os.close(writing)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)

    code = answer(lambda: execute(accepted), debug=False)
    sys.stderr.flush()
    os._exit(code)
