"""Commands that only ask import redis-py without its metrics, and hide nothing from anybody for longer."""

from __future__ import annotations

import subprocess
import sys

from tests.redis.cluster import RedisCluster
from tests.redis.server import RedisServer

#: opens the store as a command that asks does, then tells what redis-py and user code would find
PROBE = """
import sys
from goflow_cli.session import {session}
store = {session}(None, {url!r}).backend
loaded = "opentelemetry.sdk.metrics" in sys.modules
import opentelemetry.sdk.metrics
print(loaded, bool(store.runs()))
"""


#: what redis-py loads where nobody is in its way: versions before 7.2 know no metrics
ALONE = "import redis, sys; print('opentelemetry.sdk.metrics' in sys.modules)"


def probe(session: str, url: str) -> str:
    """What a fresh process finds."""
    return told_by(PROBE.format(session=session, url=url))


def told_by(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_a_single_server_is_asked_without_redis_py() -> None:
    with RedisServer() as server:
        code = PROBE.format(session="Session", url=server.url).replace(
            "opentelemetry.sdk.metrics", "redis"
        )
        assert told_by(code) == "False False"


def test_a_command_that_asks_does_without_the_metrics_of_redis_py() -> None:
    with RedisCluster() as cluster:
        assert probe("Asking", cluster.url) == "False False"


def test_one_that_executes_flows_leaves_redis_py_whole() -> None:
    with RedisCluster() as cluster:
        assert probe("Session", cluster.url) == f"{told_by(ALONE)} False"
