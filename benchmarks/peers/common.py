"""What every Python adapter shares. Only the standard library (and redis for `slow`): it runs in any venv.

A driver reads one JSON request a line, `{"shape": ..., "count": ...}`, and answers one JSON line:
`{"nodes": N, "seconds": S}`, `{"latencies": [ms, ...]}` or `{"submitted": N}`. Every result is checked: a wrong
one ends the driver.
"""

import json
import os
import sys
import time

URL = os.environ.get("FIELD_URL", "redis://127.0.0.1:6379/0")
PAYLOAD = "p" * 100
#: nodes of one chain, and runs that are under way at once
LENGTH = 100


def tail(text):
    """What every node does: three bytes more."""
    return text + "abc"


_marks = None


def mark(number):
    """A job of 20 ms that leaves a mark where the benchmark can see it."""
    global _marks
    time.sleep(0.020)
    if _marks is None:
        import redis

        _marks = redis.Redis.from_url(URL)
    _marks.pipeline(transaction=False).sadd("marks", str(number)).incr("executions").execute()


def check(found, expected):
    """Nothing is counted that did not come out right."""
    if found != expected:
        raise SystemExit(f"expected {expected!r:.80}, got {found!r:.80}")


def timed(work, nodes):
    """Nodes and seconds of what `work()` does."""
    begun = time.perf_counter()
    work()
    return {"nodes": nodes, "seconds": time.perf_counter() - begun}


def latencies(once, count):
    """Milliseconds of each of `count` lone calls, with a pause between them."""
    taken = []
    for _ in range(count):
        time.sleep(0.005)
        begun = time.perf_counter()
        once()
        taken.append((time.perf_counter() - begun) * 1e3)
    return {"latencies": taken}


def serve(shapes):
    """Answer requests until there are no more. Whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = shapes[asked["shape"]](asked["count"])
        print(json.dumps(answer), file=answers, flush=True)
