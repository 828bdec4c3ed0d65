-- REAP: take back what vanished workers held. An entry is never handed on as it is: it is deleted, and the
-- node queued under a new one, so whoever comes back late is refused.
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; how long (ms) idle times can be trusted, how many entries to take at most; classes
-- returns  how many were taken
-- repeat   nothing is left
local trusted, most = number(), number()
local settled, taken = {}, 0

-- What was held for longer than its holder's lease, which its consumer is called by (see `read_group`).
local function silent(queue, consumer, count)
  local lease = tonumber(consumer) or tonumber(LEASE)
  if lease > trusted or count <= 0 then return {} end
  return call('XPENDING', queue, 'g', 'IDLE', lease, '-', '+', count, consumer)
end

-- What is known of an attempt whose worker vanished, as a worker would have recorded it.
local function record_lost(run, node)
  run.acts = run.acts + 1
  local started = (run.created + (node[STARTED] or NOW - run.created)) / 1000
  push(run, 'a', run.round .. ' ' .. run.acts .. ' ' .. pack({node[PATH], node[ATTEMPT], 'lost', started,
    NOW / 1000, 'its worker vanished', tostring(node[WORKER]), '', node[ENTRY]}))
end

local function take_back(class, entry)
  local found = call('XRANGE', queue_key(class), entry, entry)[1]
  local run = found and get_run(found[2][2])
  local node = run and get_node(run, found[2][4])
  acknowledge(class, entry)
  if node and entry_of(node[ENTRY]) == entry then
    if node[STATE] == 'R' then
      node[LOST] = node[LOST] + 1
      record_lost(run, node)
      requeue(run, node)
      settled[run] = true
    elseif node[STATE] == 'Q' then
      make_ready(run, node)
    end
  end
end

local function reap(class)
  local queue = queue_key(class)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', queue, 'g')
  if consumers.err then return end   -- no such queue, or nobody has read from it
  for _, consumer in ipairs(consumers) do
    local name
    for place = 1, #consumer, 2 do
      if consumer[place] == 'name' then name = consumer[place + 1] end
    end
    for _, pending in ipairs(silent(queue, name, most - taken)) do
      take_back(class, pending[1])
      taken = taken + 1
    end
  end
end

while cursor < #ARGV do reap(arg()) end
for run in pairs(settled) do settle(run) end
save_queue()
ring()
save()
return taken
