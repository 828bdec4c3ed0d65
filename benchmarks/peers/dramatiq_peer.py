"""dramatiq: pipelines, groups with a completion callback, results in Redis."""

import uuid

import dramatiq
import redis
from common import LENGTH, PAYLOAD, URL, check, latencies, mark, serve, tail, timed
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as Barriers
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

# redis-py gives up a blocked read after 5 s by default
pool = redis.Redis.from_url(URL, socket_timeout=None)
results = RedisBackend(client=pool)
broker = RedisBroker(client=redis.Redis.from_url(URL, socket_timeout=None))
# what is added later acts earlier when a message is done: results must be there when a group is complete
broker.add_middleware(GroupCallbacks(Barriers(client=pool)))
broker.add_middleware(Results(backend=results))
dramatiq.set_broker(broker)
LIMIT = 60_000


@dramatiq.actor(store_results=True)
def work(text):
    return tail(text)


@dramatiq.actor(store_results=True)
def split(text, token):
    """The middle of a diamond, sent by its first node."""
    return spread([tail(text)] * 2, token)


@dramatiq.actor(store_results=True)
def fan_out(width, token):
    return spread([PAYLOAD] * width, token)


def spread(texts, token):
    members = dramatiq.group([work.message(text) for text in texts])
    members.add_completion_callback(gather.message([m.asdict() for m in members.children], token))
    members.run()
    return token


@dramatiq.actor
def gather(members, token):
    found = [dramatiq.Message(**member).get_result(backend=results) for member in members]
    pool.rpush(f"end:{token}", str(len(found)))


@dramatiq.actor
def slow(number):
    mark(number)


def many(make, number, size, expected):
    def everything():
        for message in [make() for _ in range(number)]:
            check(len(message.get_result(block=True, timeout=LIMIT)), expected)

    return timed(everything, number * size)


def line():
    stages = dramatiq.pipeline(
        [work.message(PAYLOAD), *(work.message() for _ in range(LENGTH - 1))]
    )
    return stages.run()


def spreads(send, number, size, expected):
    def everything():
        tokens = [uuid.uuid4().hex for _ in range(number)]
        for token in tokens:
            send(token)
        for token in tokens:
            found = pool.blpop(f"end:{token}", LIMIT // 1000)
            check(found and int(found[1]), expected)

    return timed(everything, number * size)


def submit(number):
    for each in range(number):
        slow.send(each)
    return {"submitted": number}


if __name__ == "__main__":
    serve(
        {
            "single": lambda number: many(lambda: work.send(PAYLOAD), number, 1, 103),
            "chains": lambda number: many(line, number, LENGTH, 400),
            "fan": lambda width: spreads(
                lambda token: fan_out.send(width, token), 1, width + 2, width
            ),
            "diamonds": lambda number: spreads(
                lambda token: split.send(PAYLOAD, token), number, 4, 2
            ),
            "idle": lambda number: latencies(
                lambda: work.send(PAYLOAD).get_result(block=True, timeout=LIMIT), number
            ),
            "slow": submit,
        }
    )
