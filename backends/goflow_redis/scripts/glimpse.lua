-- GLIMPSE: the beginnings of values of a run's data hash. Of a long one no more than that leaves the server.
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, how many bytes of each at most; fields
-- returns  for each: its length and its beginning, false and false where it is not there
-- repeat   reads only
local call, key, most, found = redis.call, KEYS[1] .. ':r:' .. ARGV[2] .. ':d', tonumber(ARGV[3]), {}
for index = 4, #ARGV do
  local value = call('HGET', key, ARGV[index])
  found[#found + 1] = value and #value
  found[#found + 1] = value and string.sub(value, 1, most)
end
return found
