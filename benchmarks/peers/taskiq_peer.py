"""taskiq: a stream broker, pipelines, results polled every 5 ms (its default is 0.2 s)."""

import asyncio

from common import LENGTH, PAYLOAD, URL, check, latencies, mark, serve, tail, timed
from taskiq_pipelines import Pipeline, PipelineMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = (
    RedisStreamBroker(URL)
    .with_result_backend(RedisAsyncResultBackend(URL))
    .with_middlewares(PipelineMiddleware())
)
POLL, LIMIT = 0.005, 60


@broker.task
def work(text: str) -> str:
    return tail(text)


@broker.task
def items(width: int) -> list[str]:
    return [PAYLOAD] * width


@broker.task
def count(texts: list[str]) -> int:
    return len(texts)


@broker.task
def slow(number: int) -> None:
    mark(number)


async def result(task):
    found = await task.wait_result(check_interval=POLL, timeout=LIMIT)
    found.raise_for_error()
    return found.return_value


def drive():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())

    def many(make, number, size, expected):
        async def everything():
            for task in [await make() for _ in range(number)]:
                check(len(await result(task)), expected)

        return timed(lambda: loop.run_until_complete(everything()), number * size)

    def line():
        pipeline = Pipeline(broker, work)
        for _ in range(LENGTH - 1):
            pipeline.call_next(work)
        return pipeline.kiq(PAYLOAD)

    def fan(width):
        async def everything():
            pipeline = Pipeline(broker, items).map(work).call_next(count)
            check(await result(await pipeline.kiq(width)), width)

        return timed(lambda: loop.run_until_complete(everything()), width + 2)

    def once():
        async def lone():
            return await result(await work.kiq(PAYLOAD))

        loop.run_until_complete(lone())

    def submit(number):
        async def everything():
            for each in range(number):
                await slow.kiq(each)

        loop.run_until_complete(everything())
        return {"submitted": number}

    serve(
        {
            "single": lambda number: many(lambda: work.kiq(PAYLOAD), number, 1, 103),
            "chains": lambda number: many(line, number, LENGTH, 400),
            "fan": fan,
            "idle": lambda number: latencies(once, number),
            "slow": submit,
        }
    )


if __name__ == "__main__":
    import taskiq_peer  # so that tasks are named after this module and not __main__

    taskiq_peer.drive()
