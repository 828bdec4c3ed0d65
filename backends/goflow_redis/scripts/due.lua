-- DUE: promote retries whose delay is over, end runs past their timeout.
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many at most
-- returns  the time (ms) of the next one, 0 where there is none; how many were looked at
-- repeat   nothing is due
local due = P .. ':due'
local members = call('ZRANGEBYSCORE', due, '-inf', NOW, 'LIMIT', 0, number())
for _, member in ipairs(members) do
  local kind, id, path = string.match(member, '^(%a):([^:]*):?(.*)$')
  local run = get_run(id)
  if run and not run.terminal then
    if kind == 't' and run.ending == '-' then
      set_ending(run, 'failed', call('HGET', run.key .. ':d', 'z') or nil)
      run.kill = 1
      call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'stop', id)
      settle(run)
    elseif kind == 'n' then
      local node = get_node(run, path)
      if node and node[STATE] == 'T' and node[DUE] <= NOW then make_ready(run, node) end
    end
  end
end
if #members > 0 then call('ZREM', due, unpack(members)) end
save_queue()
ring()
save()
local next_due = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return {next_due or '0', #members}
