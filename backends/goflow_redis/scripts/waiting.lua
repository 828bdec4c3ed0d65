-- WAITING: how many ready tasks no worker holds. Exact while fewer than `most` wait; beyond that, tasks
-- whose run was paused or has ended meanwhile count until a worker meets them.
-- uses: basics records ready group
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many to look at in each queue, number of classes, classes
-- returns  a number for each, and since when (ms) the first of them waits, 0 where there is none
-- repeat   reads only
local most, counts = number(), {}

local function waits(entry)
  local run = get_run(entry[2][2])
  local node = run and get_node(run, entry[2][4])
  if not node or node[STATE] ~= 'Q' or node[ENTRY] ~= entry[1] or run.state == 'paused' then return 0 end
  return (run.ending == '-' or is_handler(node)) and 1 or 0
end

for index = 1, number() do
  local queue = queue_key(arg())
  local entries = call('XRANGE', queue, '(' .. last_delivered(queue), '+', 'COUNT', most)
  local count, oldest = 0, '0'
  for _, entry in ipairs(entries) do
    local one = waits(entry)
    if count == 0 and one == 1 then oldest = string.match(entry[1], '^%d+') end
    count = count + one
  end
  if #entries == most then
    local pending = redis.pcall('XPENDING', queue, 'g')
    count = call('XLEN', queue) - (pending.err and 0 or pending[1])
  end
  counts[2 * index - 1], counts[2 * index] = count, oldest
end
return counts
