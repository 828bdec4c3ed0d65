-- ALIVE: a worker's own lease begins anew, also on a server that is full. A worker that left stays away; one that
-- the store has lost, since another server took over or the keys were removed, is there again under its number.
--
-- KEYS     the directory's prefix
-- ARGV     worker, lease (ms), what it said of itself when it entered ('' once it has left)
-- returns  nothing
-- repeat   the same
local D, worker, info = KEYS[1], ARGV[1], ARGV[3]
local clock = redis.call('TIME')
local ends = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[2])
if info ~= '' and not redis.call('ZSCORE', D .. ':alive', worker) then
  redis.call('HSET', D .. ':workers', worker, info)
  redis.call('ZADD', D .. ':alive', ends, worker)
  if tonumber(redis.call('GET', D .. ':ids') or 0) < tonumber(worker) then redis.call('SET', D .. ':ids', worker) end
end
redis.call('ZADD', D .. ':alive', 'XX', ends, worker)
