"""The standard library's process pool: no DAG and no record, the mark for local work."""

from concurrent.futures import ProcessPoolExecutor

from common import LENGTH, PAYLOAD, check, latencies, serve, tail, timed


def drive():
    with ProcessPoolExecutor(2) as pool:

        def single(number):
            def everything():
                for future in [pool.submit(tail, PAYLOAD) for _ in range(number)]:
                    check(len(future.result()), 103)

            return timed(everything, number)

        def chains(number):
            def everything():
                texts = [PAYLOAD] * number
                for _ in range(LENGTH):
                    texts = list(pool.map(tail, texts, chunksize=1))
                check(len(texts[0]), 400)

            return timed(everything, number * LENGTH)

        def fan(width):
            def everything():
                check(len(list(pool.map(tail, [PAYLOAD] * width, chunksize=1))), width)

            return timed(everything, width)

        serve(
            {
                "single": single,
                "chains": chains,
                "fan": fan,
                "idle": lambda number: latencies(
                    lambda: pool.submit(tail, PAYLOAD).result(), number
                ),
            }
        )


if __name__ == "__main__":
    drive()
