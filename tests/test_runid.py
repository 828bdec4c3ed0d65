"""Ids that nobody named."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from goflow.runid import RUN_ID, new_run_id


def test_ids_are_valid_and_differ_whichever_thread_makes_them() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: new_run_id(), range(2000)))
    assert len(set(made)) == 2000
    assert all(RUN_ID.fullmatch(each) for each in made)


def test_a_forked_process_makes_other_ids_than_its_parent() -> None:
    forking = (
        "import os\n"
        "from goflow.runid import new_run_id\n"
        "new_run_id()  # reads the random numbers of the next ones\n"
        "child = os.fork()\n"
        "if child:\n"
        "    os.waitpid(child, 0)\n"
        "print(*(new_run_id()[10:] for _ in range(10)), flush=True)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", forking], check=True, capture_output=True, text=True
    ).stdout.split()
    assert len(set(told)) == 20
