"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz [TARGET]... [--seconds 30]`, each in a process of its own.

What a target raises beyond its own errors ends its process with the traceback and the input (libFuzzer writes it
to a file `crash-...` in the folder it is started from). Needs the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Drive the targets one after the other; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _drive(options.targets[0], options.seconds, options.inside)
    from tests.fuzz.targets import TARGETS

    found = 0
    for name in options.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="goflow-fuzz-") as corpus:
            for number, seed in enumerate(TARGETS[name].seeds):
                Path(corpus, f"seed-{number}").write_bytes(seed)
            command = [sys.executable, "-m", "tests.fuzz", name, "--inside", corpus]
            done = subprocess.run(
                [*command, "--seconds", str(options.seconds)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        runs = re.search(r"Done (\d+) runs", done.stderr)
        covered = re.findall(r"cov: (\d+)", done.stderr)
        print(
            f"{name:12} {int(runs[1]) if runs else 0:>10,} inputs,"
            f" {covered[-1] if covered else '?'} edges"
            f"{'' if done.returncode == 0 else '  FOUND'}",
            flush=True,
        )
        if done.returncode:
            found += 1
            print(done.stderr[-3000:], file=sys.stderr)
    return 1 if found else 0


def _drive(name: str, seconds: int, corpus: str) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["goflow", "goflow_redis"]):
        from tests.fuzz.targets import TARGETS
    arguments = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", corpus]
    atheris.Setup(arguments, TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
