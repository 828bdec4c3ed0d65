-- RENEW: keep the leases of held tasks, and the scopes that they have staged: a branch may take hours to open.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; number of tasks, (run, path, hold) of each
-- returns  for each 0 kept, 1 lost, 2 kept but to be killed: its run is stopping or out of time
-- repeat   the same
local answers, kept = {}, {}
for index = 1, number() do
  local run, path, held = get_run(arg()), arg(), arg()
  local node = run and get_node(run, path)
  answers[index] = 1
  if node and node[STATE] == 'R' and node[ENTRY] == held then
    answers[index] = run.kill == 1 and path ~= '~finally' and path ~= '~on_failure' and 2 or 0
    kept[run.class] = kept[run.class] or {}
    table.insert(kept[run.class], entry_of(held))
    call('PEXPIRE', run.key .. ':t:' .. held, HOUR)
  end
end
for class, entries in pairs(kept) do
  for first = 1, #entries, 1000 do
    local command = {'XCLAIM', queue_key(class), 'g', LEASE, 0}
    for index = first, math.min(first + 999, #entries) do command[#command + 1] = entries[index] end
    for _, word in ipairs({'IDLE', 0, 'JUSTID'}) do command[#command + 1] = word end
    call(unpack(command))
  end
end
return answers
