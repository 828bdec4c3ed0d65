-- LISTEN: from now on the ends of runs are told in the partition's stream of them.
--
-- KEYS     the partition's prefix
-- ARGV     retention; how long to tell (ms)
-- returns  the id after which news are to be read
-- repeat   the time begins anew
local key, call = KEYS[1] .. ':ends', redis.call
local last = call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local id = last and last[1] or call('XADD', key, '*', 'r', '')
call('PEXPIRE', key, ARGV[2])
return id
