"""How figures change with size: `python -m benchmarks.scale [PART]...`.

Parts: `workers` (1 to 8), `partitions` (1 to 16), `cluster` (three masters), `queued` (a backlog of one-node runs
on Redis), `finished` (many ended runs, listed, on both stores). Sizes are options; the defaults are small.
"""
