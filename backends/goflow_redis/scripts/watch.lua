-- WATCH: from now on a run's changes are told in its event stream.
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, how long to tell (ms)
-- returns  the id after which news are to be read
-- repeat   the time begins anew
local key, life = KEYS[1] .. ':r:' .. ARGV[2], tonumber(ARGV[3])
local call = redis.call
if call('EXISTS', key) == 0 then return '0-0' end
local clock = call('TIME')
call('HSET', key, ':w', string.format('%d', clock[1] * 1000 + life))
local last = call('XREVRANGE', key .. ':ev', '+', '-', 'COUNT', 1)[1]
local id = last and last[1] or call('XADD', key .. ':ev', '*', 'v', '0')
call('PEXPIRE', key .. ':ev', life)
return id
