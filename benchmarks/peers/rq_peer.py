"""RQ: jobs that depend on jobs and fetch what those made."""

import redis
from common import LENGTH, PAYLOAD, URL, check, latencies, mark, serve, tail, timed
from rq import Queue, get_current_job
from rq.job import Dependency

LIMIT = 60


def work(text):
    return tail(text)


def after():
    (before,) = get_current_job().fetch_dependencies()
    return tail(before.return_value())


def join():
    return tail("".join(job.return_value() for job in get_current_job().fetch_dependencies()))


def count():
    return len(get_current_job().fetch_dependencies())


def slow(number):
    mark(number)


def drive():
    # redis-py gives up a blocked read after 5 s by default
    queue = Queue(connection=redis.Redis.from_url(URL, socket_timeout=None))

    def result(job):
        found = job.latest_result(timeout=LIMIT)
        check(found is not None, True)
        return found.return_value

    def many(make, number, size, expected):
        def everything():
            for job in [make() for _ in range(number)]:
                check(len(result(job)), expected)

        return timed(everything, number * size)

    def line():
        job = queue.enqueue(work, PAYLOAD)
        for _ in range(LENGTH - 1):
            job = queue.enqueue(after, depends_on=job)
        return job

    def diamond():
        top = queue.enqueue(work, PAYLOAD)
        sides = [queue.enqueue(after, depends_on=top) for _ in range(2)]
        return queue.enqueue(join, depends_on=Dependency(jobs=sides))

    def fan(width):
        def everything():
            jobs = [queue.enqueue(work, PAYLOAD) for _ in range(width)]
            last = queue.enqueue(count, depends_on=Dependency(jobs=jobs))
            check(result(last), width)

        return timed(everything, width + 1)

    def submit(number):
        for each in range(number):
            queue.enqueue(slow, each)
        return {"submitted": number}

    serve(
        {
            "single": lambda number: many(lambda: queue.enqueue(work, PAYLOAD), number, 1, 103),
            "chains": lambda number: many(line, number, LENGTH, 400),
            "fan": fan,
            "diamonds": lambda number: many(diamond, number, 4, 215),
            "idle": lambda number: latencies(lambda: result(queue.enqueue(work, PAYLOAD)), number),
            "slow": submit,
        }
    )


if __name__ == "__main__":
    import rq_peer  # so that jobs name this module and not __main__

    rq_peer.drive()
