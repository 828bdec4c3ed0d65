"""Celery: chains, chords, a Redis result backend; JSON, defaults but for one slot a worker."""

from celery import Celery, chain, chord, group
from common import LENGTH, PAYLOAD, URL, check, latencies, mark, serve, tail, timed

app = Celery("celery_peer", broker=URL, backend=URL)
LIMIT = 60


@app.task
def work(text):
    return tail(text)


@app.task
def join(texts):
    return tail("".join(texts))


@app.task
def count(texts):
    return len(texts)


@app.task
def slow(number):
    mark(number)


def many(make, number, size, expected):
    def everything():
        results = [make().apply_async() for _ in range(number)]
        for result in results:
            check(len(result.get(timeout=LIMIT)), expected)

    return timed(everything, number * size)


def line():
    return chain(work.s(PAYLOAD), *(work.s() for _ in range(LENGTH - 1)))


def diamond():
    return chain(work.s(PAYLOAD), group(work.s(), work.s()), join.s())


def fan(width):
    def everything():
        result = chord([work.s(PAYLOAD) for _ in range(width)])(count.s())
        check(result.get(timeout=LIMIT), width)

    return timed(everything, width + 1)


def submit(number):
    for each in range(number):
        slow.delay(each)
    return {"submitted": number}


if __name__ == "__main__":
    serve(
        {
            "single": lambda number: many(lambda: work.s(PAYLOAD), number, 1, 103),
            "chains": lambda number: many(line, number, LENGTH, 400),
            "fan": fan,
            "diamonds": lambda number: many(diamond, number, 4, 215),
            "idle": lambda number: latencies(
                lambda: work.delay(PAYLOAD).get(timeout=LIMIT), number
            ),
            "slow": submit,
        }
    )
