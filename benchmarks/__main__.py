"""`python -m benchmarks [NAME]...`: measure, print a table, keep it under benchmarks/results/.

A name is a group (local, http, answers, telemetry) or one of local's figures: start-up, foreach, efficiency, chain,
memory.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from benchmarks import answers, http, local, telemetry
from benchmarks.measure import Figure

GROUPS = {
    "local": local.figures,
    "http": http.figures,
    "answers": answers.figures,
    "telemetry": telemetry.figures,
}
NAMES = {**GROUPS, **local.MEASURES}
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    chosen = sys.argv[1:] or list(GROUPS)
    if not set(chosen) <= set(NAMES):
        print(f"expected any of {', '.join(NAMES)}, got {' '.join(chosen)}", file=sys.stderr)
        return 2
    runs = int(os.environ.get("GOFLOW_BENCH_RUNS", "5"))
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores,",
        end=" ",
    )
    print(f"{platform.machine()}, {time.strftime('%Y-%m-%d')}; medians of {runs}\n")
    print(f"{'figure':44} {'ours':>10} {'yardstick':>10} {'':4} {'ratio':>6}  goal")
    measured: list[Figure] = []
    for figure in (figure for name in chosen for figure in NAMES[name](runs)):
        measured.append(figure)
        mark = "" if figure.holds else "  MISSED"
        print(
            f"{figure.name:44} {figure.ours:10.3f} {figure.yardstick:10.3f} {figure.unit:4}"
            f" {figure.ratio:6.2f}  {figure.goal}{mark}",
            flush=True,
        )
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    kept.write_text(json.dumps([figure._asdict() for figure in measured], indent=2))
    return 0 if all(figure.holds for figure in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
