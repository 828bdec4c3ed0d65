-- RESULTS: runs as they are now, and what those made whose end node has been recorded.
--
-- KEYS     the partition's prefix
-- ARGV     retention; runs
-- returns  for each: the records :s and :i (false: there is no such run), the recorded failure, the result
-- repeat   reads only
local call, found = redis.call, {}
for index = 2, #ARGV do
  local key = KEYS[1] .. ':r:' .. ARGV[index]
  local records = call('HMGET', key, ':s', ':i')
  local told = call('HMGET', key .. ':d', 'f:', 'e')
  local result = told[2] and call('HGET', key .. ':d', 'o:' .. told[2])
  found[index - 1] = {records[1], records[2], told[1], result}
end
return found
