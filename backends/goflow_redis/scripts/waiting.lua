-- WAITING: how many ready tasks no worker holds, some entries at a time. Exact where the caller goes on to the end; by the
-- queue alone, tasks whose run was paused or has ended meanwhile count until a worker meets them.
-- uses: basics records ready group
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many to look at (0: by the queue alone), (class, the entry after which to go on, '' from the
--          first)...
-- returns  of each class how many; since when (ms) the first of them waits, 0 where there is none; the entry after which to
--          go on, '' at the end
-- repeat   reads only
local left, told = number(), {}
local exact = left > 0

local function waits(entry)
  local run = get_run(entry[2][2])
  local node = run and get_node(run, entry[2][4])
  if not node or node[STATE] ~= 'Q' or node[ENTRY] ~= entry[1] or run.state == 'paused' then return 0 end
  return (run.ending == '-' or is_handler(node)) and 1 or 0
end

while cursor < #ARGV do
  local queue, last, count, oldest = queue_key(arg()), arg(), 0, '0'
  if last == '' then last = last_delivered(queue) end
  if not exact then
    local pending = redis.pcall('XPENDING', queue, 'g')
    count, last = call('XLEN', queue) - (pending.err and 0 or pending[1]), ''
  elseif left > 0 then
    local entries = call('XRANGE', queue, '(' .. last, '+', 'COUNT', left)
    for _, entry in ipairs(entries) do
      local one = waits(entry)
      if count == 0 and one == 1 then oldest = string.match(entry[1], '^%d+') end
      count = count + one
    end
    last = #entries == left and entries[left][1] or ''
    left = left - #entries
  end
  told[#told + 1], told[#told + 2], told[#told + 3] = count, oldest, last
end
return told
