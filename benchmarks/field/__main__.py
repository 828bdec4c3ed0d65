"""`python -m benchmarks.field`: measure, print a table, keep it under benchmarks/results/."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.field import report
from benchmarks.field.figures import Figure, measure, warm
from benchmarks.field.fleet import Broken, Fleet, Server
from benchmarks.field.peers import PEERS, SHAPES, Peer

#: ends a fleet: nothing is measured after it
LAST = "kill"


def main() -> int:
    """Measure what is asked for, peer by peer."""
    options = _options()
    if not options.peers:
        return 0
    shapes = [shape for shape in SHAPES if shape in options.shapes]
    measured: dict[str, dict[str, Figure]] = {}
    server = Server()
    try:
        for peer in (peer for peer in PEERS if peer.name in options.peers):
            begun = time.monotonic()
            measured[peer.name] = _measure(peer, server, shapes, options.rounds)
            print(report.line(peer, measured[peer.name]), flush=True)
            print(f"{peer.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    finally:
        server.close()
    print(report.kept(measured))
    return 0


def _measure(peer: Peer, server: Server, shapes: list[str], rounds: int) -> dict[str, Figure]:
    """Every figure of one peer; a fleet that fails or is too slow is started anew."""
    found: dict[str, Figure] = {}
    fleet: Fleet | None = None
    try:
        for shape in (shape for shape in shapes if shape not in peer.lacks):
            try:
                if fleet is None:
                    fleet = Fleet(peer, server)
                    if shape != "start-up":
                        warm(fleet)
                found[shape] = measure(fleet, shape, rounds)
            except Broken as error:
                print(f"{peer.name}, {shape}: {error}", file=sys.stderr)
                found[shape] = Figure(None, word="failed")
            if found[shape].value is None or shape == LAST:
                if fleet is not None:
                    fleet.close()
                fleet = None
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{peer.name}: {error}", file=sys.stderr)
    finally:
        if fleet is not None:
            fleet.close()
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.field",
        description=__doc__,
        epilog=f"shapes: {', '.join(SHAPES)}",
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument(
        "--peers", "--only", type=_words(names), default=names, help="a,b,... or none"
    )
    parser.add_argument("--shapes", type=_words(SHAPES), default=list(SHAPES), help="a,b,...")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    return parser.parse_args()


def _words(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads a comma-separated choice of the known words."""

    def read(text: str) -> list[str]:
        words = [] if text == "none" else text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return words

    return read


if __name__ == "__main__":
    sys.exit(main())
