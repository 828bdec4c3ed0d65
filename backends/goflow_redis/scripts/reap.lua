-- REAP: take back what vanished workers held. An entry never changes its consumer: it is deleted, and the
-- node queued under a new one, so whoever comes back late is refused.
-- uses: records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; class, lease (ms), cursor, how many entries to take at most
-- returns  the next cursor ('0-0' at the end), how many were taken
-- repeat   nothing is left
local class, lease, position, count = arg(), arg(), arg(), arg()
local answer = redis.pcall('XAUTOCLAIM', queue_key(class), 'g', 'w', lease, position, 'COUNT', count)
if answer.err then
  if string.find(answer.err, 'NOGROUP', 1, true) then return {'0-0', 0} end
  return answer
end

-- What is known of an attempt whose worker vanished, as a worker would have recorded it.
local function record_lost(run, node)
  run.acts = run.acts + 1
  local started = (run.created + (node[STARTED] or NOW - run.created)) / 1000
  push(run, 'a', run.round .. ' ' .. run.acts .. ' ' .. pack({node[PATH], node[ATTEMPT], 'lost', started,
    NOW / 1000, 'its worker vanished', tostring(node[WORKER]), '', node[ENTRY]}))
end

local settled = {}
for _, each in ipairs(answer[2]) do
  if each and each[2] then
    local entry, run = each[1], get_run(each[2][2])
    local node = run and get_node(run, each[2][4])
    acknowledge(class, entry)
    if node and node[ENTRY] == entry then
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
end
for run in pairs(settled) do settle(run) end
save_queue()
save()
return {answer[1], #answer[2]}
