"""`python -m benchmarks.scale [PART]...`: measure, print tables, keep them with a picture under benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.plot import Chart, curves
from benchmarks.scale import backlog, finished
from benchmarks.scale.fleet import CONCURRENCY, NAMESPACE, measure
from benchmarks.scale.table import Row, table
from goflow_redis.keys import SCHEMA
from tests.redis.cluster import RedisCluster
from tests.redis.server import RedisServer

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("workers", "partitions", "cluster", "queued", "finished")
Rows = dict[str, Row]


def main() -> int:
    """Measure the parts that are asked for."""
    options = _options()
    folder = RESULTS / time.strftime("scale-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    told: list[str] = [f"{machine()}; workers of concurrency {CONCURRENCY}."]
    measured: dict[str, Rows] = {}
    for part in options.parts or PARTS:
        began = time.monotonic()
        rows = measured[part] = MEASURES[part](options)
        told.append(f"{part}, {time.monotonic() - began:.0f} s\n\n{table(rows, part)}")
        print(told[-1], flush=True)
        (folder / "scale.json").write_text(json.dumps(measured, indent=2))
        (folder / "scale.md").write_text("\n\n".join(told) + "\n")
        (folder / "scale.svg").write_text(picture(measured))
    print(f"\n{folder}")
    return 0


def workers(options: argparse.Namespace) -> Rows:
    """1, 2, 4 and 8 of them over one server."""
    rows: Rows = {}
    for count in options.workers:
        with RedisServer() as server:
            rows[f"{count}"] = measure(server.url, [server.client], count, options.nodes)
    return rows


def partitions(options: argparse.Namespace) -> Rows:
    """A store split into 1, 4 and 16, under two workers."""
    rows: Rows = {}
    for count in options.partitions:
        with RedisServer() as server:
            key = f"gf:{{{NAMESPACE}}}:meta"
            server.client.hset(key, mapping={"schema": SCHEMA, "partitions": count})
            rows[f"{count}"] = measure(server.url, [server.client], 2, options.nodes)
            assert int(server.client.hget(key, "partitions")) == count
    return rows


def cluster(options: argparse.Namespace) -> Rows:
    """One server beside three masters, under two and four workers."""
    rows: Rows = {}
    for count in (2, 4):
        with RedisServer() as server:
            rows[f"1 server, {count} workers"] = measure(
                server.url, [server.client], count, options.nodes
            )
        three = RedisCluster()
        try:
            rows[f"3 masters, {count} workers"] = measure(
                three.url, three.clients, count, options.nodes
            )
        finally:
            three.close()
    return rows


def queued(options: argparse.Namespace) -> Rows:
    """A backlog as it grows."""
    rows: Rows = {}
    for depth, row in backlog.grown(options.queued):
        rows.setdefault(f"{depth:,}", {}).update(row)
    return rows


def ended(options: argparse.Namespace) -> Rows:
    """Finished runs, listed."""
    return dict(finished.listed(options.finished))


MEASURES = {
    "workers": workers,
    "partitions": partitions,
    "cluster": cluster,
    "queued": queued,
    "finished": ended,
}


def picture(measured: dict[str, Rows]) -> str:
    """Curves of what was measured."""
    charts = []
    for part, axis in (("workers", "workers"), ("partitions", "partitions, 2 workers")):
        if rows := measured.get(part):
            rates = ("no-op nodes/s", "chains of 100, nodes/s", "20 ms nodes/s")
            charts.append(_chart(f"throughput by {part}", axis, rows, rates, log_y=True))
            lone = ("lone run p50, ms", "lone run p99, ms")
            charts.append(_chart(f"latency at rest by {part}", axis, rows, lone))
    if rows := measured.get("queued"):
        axis = "runs that are queued"
        costs = ("submit, ms", "claim, ms", "commit, ms", "a look of `top`, ms")
        charts.append(_chart("before a backlog", axis, rows, costs, log_y=True))
        charts.append(_chart("a backlog's memory", axis, rows, ("Redis MiB",), log_y=True))
    return curves("throughput, latency and memory by size", charts)


def _chart(title: str, axis: str, rows: Rows, keys: tuple[str, ...], log_y: bool = False) -> Chart:
    lines = {
        key.replace("`", ""): [
            (float(name.replace(",", "")), row[key]) for name, row in rows.items() if key in row
        ]
        for key in keys
    }
    return Chart(title, axis, lines, log_x=True, log_y=log_y)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 4, 8], metavar="1,2,...")
    parser.add_argument("--partitions", type=_numbers, default=[1, 4, 16], metavar="1,4,...")
    parser.add_argument("--nodes", type=int, default=8_000, help="no-op nodes of a load")
    parser.add_argument("--queued", type=int, default=100_000, help="runs of the backlog")
    parser.add_argument("--finished", type=int, default=10_000, help="runs that have ended")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
