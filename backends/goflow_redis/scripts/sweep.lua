-- SWEEP: forget runs of one flow that have gone, and what nothing uses any more: the flow's list, a queue.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; flow ('' none), score in its list after which to go on, how many runs to look at; class
--          ('' none)
-- returns  the score to go on after ('' at the end); how many runs were forgotten; 1 where the class was
-- repeat   nothing is left
local flow, position, count, class = arg(), arg(), number(), arg()
local list, gone = list_key(flow), {}

-- Those in a range of scores that have gone; the last score there, '' where that is all of the range.
local function look(first, last, most)
  local found = call('ZRANGEBYSCORE', list, first, last, 'WITHSCORES', 'LIMIT', 0, most)
  for place = 1, #found, 2 do
    if call('EXISTS', P .. ':r:' .. found[place]) == 0 then gone[#gone + 1] = found[place] end
  end
  return #found == 2 * most and found[#found] or ''
end

-- The oldest that ended in each way are the first to go; where some of them stay for longer, the others are come
-- by on a round through the whole list.
local following = ''
if flow ~= '' then
  for _, state in ipairs({'succeeded', 'failed', 'stopped'}) do
    local least = score_of(state, SINCE)
    look(least, '(' .. string.format('%.0f', least + SPAN), math.ceil(count / 4))
  end
  following = look('(' .. position, '+inf', math.ceil(count / 4))
  if #gone > 0 then call('ZREM', list, unpack(gone)) end
end

-- Whether somebody may submit a run of the flow without having it listed again.
local function has_queue()
  for _, each in ipairs(call('SMEMBERS', P .. ':classes')) do
    if string.find(each, flow .. ':', 1, true) == 1 then return true end
  end
  return false
end

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
  call('UNLINK', queue_key(class), bell_key(class))
  call('SREM', P .. ':classes', class)
  forgotten = 1
end
if flow ~= '' and call('EXISTS', list) == 0 and not has_queue() then call('SREM', P .. ':flows', flow) end
return {following, #gone, forgotten}
