"""huey: pipelines and chords; results are waited for by polling, as it does."""

from common import LENGTH, PAYLOAD, URL, check, latencies, mark, serve, tail, timed
from huey import RedisHuey, chord

huey = RedisHuey("field", url=URL)
LIMIT = 60


@huey.task()
def work(text):
    return tail(text)


@huey.task()
def join(texts):
    return tail("".join(texts))


@huey.task()
def count(texts):
    return len(texts)


@huey.task()
def slow(number):
    mark(number)


def wait(result):
    return result.get(blocking=True, timeout=LIMIT, backoff=1, max_delay=0.005)


def many(make, number, size, expected):
    def everything():
        for result in [make() for _ in range(number)]:
            check(len(wait(result)), expected)

    return timed(everything, number * size)


def line():
    first = task = work.s(PAYLOAD)
    for _ in range(LENGTH - 1):
        task = task.then(work)
    return list(huey.enqueue(task if task is not None else first))[-1]


def fan(width):
    def everything():
        found = huey.enqueue(chord([work.s(PAYLOAD) for _ in range(width)], count.s()))
        check(wait(found.callback), width)

    return timed(everything, width + 1)


def submit(number):
    for each in range(number):
        slow(each)
    return {"submitted": number}


if __name__ == "__main__":
    import huey_peer  # so that tasks are named after this module and not __main__

    serve(
        {
            "single": lambda number: huey_peer.many(
                lambda: huey_peer.work(PAYLOAD), number, 1, 103
            ),
            "chains": lambda number: huey_peer.many(huey_peer.line, number, LENGTH, 400),
            "fan": huey_peer.fan,
            "idle": lambda number: latencies(lambda: wait(huey_peer.work(PAYLOAD)), number),
            "slow": huey_peer.submit,
        }
    )
