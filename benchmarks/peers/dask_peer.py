"""Dask: futures that depend on futures, over a local cluster of two processes. Nothing is recorded."""

from common import LENGTH, PAYLOAD, check, latencies, serve, tail, timed


def join(left, right):
    return tail(left + right)


def drive():
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)

    def node(*inputs, work=tail):
        return client.submit(work, *inputs, pure=False)

    def many(make, number, size, expected):
        def everything():
            for result in client.gather([make() for _ in range(number)]):
                check(len(result), expected)

        return timed(everything, number * size)

    def line():
        future = node(PAYLOAD)
        for _ in range(LENGTH - 1):
            future = node(future)
        return future

    def diamond():
        top = node(PAYLOAD)
        return node(node(top), node(top), work=join)

    def fan(width):
        def everything():
            found = client.map(tail, [PAYLOAD] * width, pure=False)
            check(client.submit(len, found, pure=False).result(), width)

        return timed(everything, width + 1)

    serve(
        {
            "single": lambda number: many(lambda: node(PAYLOAD), number, 1, 103),
            "chains": lambda number: many(line, number, LENGTH, 400),
            "fan": fan,
            "diamonds": lambda number: many(diamond, number, 4, 215),
            "idle": lambda number: latencies(lambda: node(PAYLOAD).result(), number),
        }
    )


if __name__ == "__main__":
    drive()
