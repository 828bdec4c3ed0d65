"""The Redis backend keeps every rule of the seam, and survives random histories."""

from __future__ import annotations

import pytest
from hypothesis import settings

from goflow.testing.conformance import BackendConformance
from goflow.testing.machine import LONG, SHORT, BackendMachine
from tests.redis.hooks import RedisHooks


class TestRedis(RedisHooks, BackendConformance):
    pass


class RedisMachine(RedisHooks, BackendMachine):
    pass


class LongRedisMachine(RedisHooks, BackendMachine):
    pass


TestRedisMachine = RedisMachine.TestCase
#: every step is several round trips: half the histories of an embedded store
TestRedisMachine.settings = settings(SHORT, max_examples=20)

TestLongRedisMachine = pytest.mark.chaos(LongRedisMachine.TestCase)
TestLongRedisMachine.settings = LONG
