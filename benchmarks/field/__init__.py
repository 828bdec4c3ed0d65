"""goflow beside others: the same shapes, the same Redis, the same two worker processes, the same minutes.

    python -m benchmarks.field [--peers goflow,bullmq] [--shapes single,idle] [--rounds 3]

A peer is a line in `peers.py` and one small file under benchmarks/peers/, which runs in the peer's own venv
or npm folder (made on first use) and answers one JSON line for each shape it is asked for. Whatever takes
longer than its limit is ended and told as such.
"""
