-- HELD: who holds what, for people.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; class, how many at most
-- returns  worker, run, path, hold of each held task, flat
-- repeat   reads only
local class, told = arg(), {}
local pending = redis.pcall('XPENDING', queue_key(class), 'g', '-', '+', number())
if pending.err then return {} end
for _, each in ipairs(pending) do
  local found = call('XRANGE', queue_key(class), each[1], each[1])[1]
  local run = found and get_run(found[2][2])
  local node = run and get_node(run, found[2][4])
  if node and node[STATE] == 'R' and entry_of(node[ENTRY]) == each[1] then
    for _, word in ipairs({node[WORKER], run.id, node[PATH], node[ENTRY]}) do told[#told + 1] = word end
  end
end
return told
