-- ALIVE: a worker's own lease begins anew, also on a server that is full. A worker that left stays away.
--
-- KEYS     the directory's prefix
-- ARGV     worker, the end of its lease (ms)
-- returns  nothing
-- repeat   the same
redis.call('ZADD', KEYS[1] .. ':alive', 'XX', ARGV[2], ARGV[1])
