"""The Redis backend: the same flow file, unchanged, on many machines that share a Redis.

`keys` is the map of every key, `scripts/` holds one Lua file per transition, `queue`, `runs` and `directory` are
the three parts of the seam, `link` is the wire. Nothing here imports the Redis library before a store is opened.
"""

from goflow_redis.backend import RedisBackend

__all__ = ["RedisBackend"]
