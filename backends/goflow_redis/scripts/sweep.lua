-- SWEEP: forget runs that have gone, and queues that nothing uses any more.
-- uses: records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; position in the list of runs, how many to look at; class ('' none)
-- returns  the next position (0 at the end); 1 where the class was forgotten
-- repeat   nothing is left
local position, count, class = number(), number(), arg()
local ids = call('ZRANGE', P .. ':runs', position, position + count - 1)
local left = 0
for _, id in ipairs(ids) do
  if call('EXISTS', P .. ':r:' .. id) == 0 then call('ZREM', P .. ':runs', id) else left = left + 1 end
end
local following = #ids < count and 0 or position + left

-- When the queue got its last entry (ms); 0 where somebody has removed it.
local function last_entry(queue)
  if call('EXISTS', queue) == 0 then return 0 end
  local info = call('XINFO', 'STREAM', queue)
  for place = 1, #info, 2 do
    if info[place] == 'last-generated-id' then return tonumber(string.match(info[place + 1], '^%d+')) end
  end
end

local forgotten = 0
if class ~= '' and call('XLEN', queue_key(class)) == 0 and call('EXISTS', pump_key(class)) == 0
    and last_entry(queue_key(class)) < NOW - RETENTION then
  call('UNLINK', queue_key(class))
  call('SREM', P .. ':classes', class)
  forgotten = 1
end
return {following, forgotten}
