-- POSITIONS: the last id each stream ever had.
--
-- KEYS     the partition's prefix
-- ARGV     retention; names of streams
-- returns  an id each, '0-0' for a stream that does not exist
-- repeat   reads only
local ids = {}
for index = 2, #ARGV do
  local info = redis.pcall('XINFO', 'STREAM', ARGV[index])
  ids[index - 1] = '0-0'
  for place = 1, info.err and 0 or #info, 2 do
    if info[place] == 'last-generated-id' then ids[index - 1] = info[place + 1] end
  end
end
return ids
