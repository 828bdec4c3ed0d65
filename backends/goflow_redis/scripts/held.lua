-- HELD: who holds what, for people.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; class, how many to look at, the entry after which to go on ('' from the first)
-- returns  the entry after which to go on ('' at the end); worker, run, path, hold of each held task, flat
-- repeat   reads only
local class, most, last = arg(), number(), arg()
local pending = redis.pcall('XPENDING', queue_key(class), 'g', last == '' and '-' or '(' .. last, '+', most)
if pending.err then return {''} end
local told = {#pending == most and pending[most][1] or ''}
for _, each in ipairs(pending) do
  local found = call('XRANGE', queue_key(class), each[1], each[1])[1]
  local run = found and get_run(found[2][2])
  local node = run and get_node(run, found[2][4])
  if node and node[STATE] == 'R' and entry_of(node[ENTRY]) == each[1] then
    for _, word in ipairs({node[WORKER], run.id, node[PATH], node[ENTRY]}) do told[#told + 1] = word end
  end
end
return told
