"""Prefect: tasks of a flow in this process, on a thread runner of two, with its own temporary server."""

import os
import tempfile

os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="prefect-"))
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

from common import LENGTH, PAYLOAD, check, latencies, serve, tail, timed
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


@task
def work(text):
    return tail(text)


@task
def join(left, right):
    return tail(left + right)


@task
def count(texts):
    return len(texts)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def singles(number):
    return [future.result() for future in [work.submit(PAYLOAD) for _ in range(number)]]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def chains(number):
    ends = []
    for _ in range(number):
        future = work.submit(PAYLOAD)
        for _ in range(LENGTH - 1):
            future = work.submit(future)
        ends.append(future)
    return [future.result() for future in ends]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def diamonds(number):
    ends = []
    for _ in range(number):
        top = work.submit(PAYLOAD)
        ends.append(join.submit(work.submit(top), work.submit(top)))
    return [future.result() for future in ends]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def fans(width):
    return count.submit(work.map([PAYLOAD] * width)).result()


def many(run, number, size, expected):
    def everything():
        for text in run(number):
            check(len(text), expected)

    return timed(everything, number * size)


def fan(width):
    return timed(lambda: check(fans(width), width), width + 1)


if __name__ == "__main__":
    serve(
        {
            "single": lambda number: many(singles, number, 1, 103),
            "chains": lambda number: many(chains, number, LENGTH, 400),
            "fan": fan,
            "diamonds": lambda number: many(diamonds, number, 4, 215),
            "idle": lambda number: latencies(lambda: singles(1), number),
        }
    )
