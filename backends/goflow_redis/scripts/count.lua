-- COUNT: add what a worker has counted to the store's figures.
--
-- KEYS     the directory's prefix
-- ARGV     worker and a nonce of its process, number of this call, (figure, how many)...
-- returns  1, 0 where it was added before
-- repeat   the number of the last call that was added is kept
local last = KEYS[1] .. ':counted:' .. ARGV[1]
if tonumber(redis.call('GET', last) or '0') >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', last, ARGV[2], 'PX', 3600000)
for place = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1] .. ':figures', ARGV[place], ARGV[place + 1]) end
return 1
