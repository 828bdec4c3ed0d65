"""goflow: a Client that submits run after run and waits for every result."""

import os
import time

from common import LENGTH, PAYLOAD, URL, check, latencies, serve, timed

from goflow import Client
from goflow.config import Config, Redis
from goflow.errors import UnknownFlow

backend = os.environ.get("FIELD_BACKEND", URL)
client = Client(backend, config=Config(redis=Redis(url=URL)) if backend == URL else None)


def known(flow):
    try:
        return client.plan(flow)
    except UnknownFlow:  # no worker has registered it yet
        return None


for _ in range(600):
    if known("slow"):
        break
    time.sleep(0.05)


def many(flow, count, size, expected):
    def work():
        runs = [client.submit(flow, PAYLOAD) for _ in range(count)]
        for payload in client.wait_all([run.id for run in runs], 120):
            check(len(payload.data), expected)

    return timed(work, count * size)


def fan(width):
    def work():
        run = client.submit("fan", str(width))
        check(client.wait(run.id, 120).json(), width)

    return timed(work, width + 2)


def once():
    check(client.wait(client.submit("single", PAYLOAD).id, 10).text(), PAYLOAD + "abc")


def slow(count):
    for number in range(count):
        client.submit("slow", str(number))
    return {"submitted": count}


serve(
    {
        "single": lambda count: many("single", count, 1, 103),
        "chains": lambda count: many("chain", count, LENGTH, 400),
        "fan": fan,
        "diamonds": lambda count: many("diamond", count, 4, 215),
        "idle": lambda count: latencies(once, count),
        "slow": slow,
    }
)
