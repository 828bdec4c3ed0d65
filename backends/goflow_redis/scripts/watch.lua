-- WATCH: from now on a run's changes, or its end alone, are told in its event stream.
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, how long to tell (ms), whether only its end is to be told (1), how long news of an end are kept (ms)
-- returns  the id after which news are to be read; one that has passed where the end is asked for and has come
-- repeat   the time begins anew
local key, life, ends, news = KEYS[1] .. ':r:' .. ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local call = redis.call
local known = call('HMGET', key, ':s', ':w')
if not known[1] then return '0-0' end
local clock = call('TIME')
local now = clock[1] * 1000
-- `:w` is when it ends to be told; half a ms more means the end alone. Who hears of all hears of that too.
local all = known[2] and not string.find(known[2], '.', 1, true) and tonumber(known[2]) > now
call('HSET', key, ':w', string.format(ends and not all and '%d.5' or '%d', now + life))
local last = call('XREVRANGE', key .. ':ev', '+', '-', 'COUNT', 1)[1]
local id = last and last[1] or call('XADD', key .. ':ev', '*', 'v', '0')
local state = cmsgpack.unpack(known[1])[1]
local over = ends and (state == 'succeeded' or state == 'failed' or state == 'stopped')
call('PEXPIRE', key .. ':ev', over and not all and news or life)
return over and '0-1' or id
