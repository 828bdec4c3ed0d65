"""`python -m benchmarks.field`: measure peer by peer, print a table, keep it with pictures under benchmarks/results/."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from redis import RedisError

from benchmarks.field import report
from benchmarks.field.figures import Effort, Figure, measure, warm
from benchmarks.field.fleet import Broken, Fleet, Server
from benchmarks.field.peers import PEERS, SHAPES, Peer

RESULTS = Path(__file__).parents[1] / "results"
#: ends a fleet: nothing is measured after it
LAST = "kill"
#: what a peer that breaks makes of us: a dead driver, an answer that is no JSON, a server it took along
FOREIGN = (OSError, subprocess.SubprocessError, ValueError, KeyError, RedisError)
#: how many fleets in a row may fail before a peer is given up
PATIENCE = 2


def main() -> int:
    """Measure what is asked for, peer by peer."""
    options = _options()
    if not options.peers:
        return 0
    shapes = [shape for shape in SHAPES if shape in options.shapes]
    effort = Effort(options.rounds, options.share)
    measured: dict[str, dict[str, Figure]] = {}
    folder = RESULTS / time.strftime("field-%Y%m%d-%H%M%S")
    for peer in (peer for peer in PEERS if peer.name in options.peers):
        begun = time.monotonic()
        measured[peer.name] = _measure(peer, shapes, effort)
        print(report.line(peer, measured[peer.name]), flush=True)
        print(f"{peer.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        report.keep(folder, measured, effort)  # what is measured outlives what comes after it
    print(f"\n{report.page(measured, effort)}\n{folder}")
    return 0


def _measure(peer: Peer, shapes: list[str], effort: Effort) -> dict[str, Figure]:
    """Every figure of one peer, over a server that none has used before. A fleet that fails or is too slow is
    started anew; a peer whose fleets fail one after the other is given up."""
    found: dict[str, Figure] = {}
    failures = 0
    with closing(Server()) as server, closing(Hired(peer, server)) as hired:
        for shape in (shape for shape in shapes if shape not in peer.lacks):
            try:
                fleet = hired.fleet(warmed=shape != "start-up")
                found[shape] = measure(fleet, shape, effort)
                failures = 0
            except (Broken, *FOREIGN) as error:
                print(f"{peer.name}, {shape}: {error}", file=sys.stderr)
                found[shape] = Figure(None, word="failed")
                failures += 1
            if found[shape].value is None or shape == LAST:
                hired.close()
            if failures == PATIENCE:
                print(f"{peer.name}: given up", file=sys.stderr)
                break
    return found


class Hired:
    """The fleet of a peer, started when it is asked for."""

    def __init__(self, peer: Peer, server: Server) -> None:
        self._peer, self._server = peer, server
        self._fleet: Fleet | None = None

    def fleet(self, *, warmed: bool) -> Fleet:
        """One that works. Raises Broken, OSError, SubprocessError."""
        if self._fleet is None:
            self._fleet = Fleet(self._peer, self._server)
            if warmed:
                warm(self._fleet)
        return self._fleet

    def close(self) -> None:
        """End it; the next one asked for is new."""
        if self._fleet is not None:
            self._fleet.close()
        self._fleet = None


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
    parser.add_argument(
        "--share", type=float, default=1.0, help="of every count (0.02 to try the adapters)"
    )
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
