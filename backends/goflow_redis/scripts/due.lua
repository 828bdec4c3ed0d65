-- DUE: promote retries whose delay is over, end runs past their timeout, and go on with what is to be done with the
-- scopes of runs with very many open branches (see `begin_walk`).
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many at most
-- returns  the time (ms) of the next one, 0 where there is none; how many were looked at
-- repeat   nothing is due
local due, further, left = P .. ':due', {}, SOME

-- As long as a run is kept, which is for ever (-1) while it is on its way.
local function live_for(key, life)
  if life >= 0 then
    call('PEXPIRE', key, string.format('%d', life))
  else
    call('PERSIST', key)
  end
end

-- Whether a run's branch has scopes that wait. One that an earlier run with this id has left has none: that one was gone
-- before anybody went through its branches.
local function has_waiting(run, path)
  local node = get_node(run, path)
  return node and node[WIDTH] and node[RELEASED] < node[WIDTH]
end

-- Scopes that wait in branches of a run are kept as long as it is, go where it has gone already, and start where it goes
-- on. (A step of SSCAN may give the same branch once more, or some more than it was asked for.)
local function walk(id, run)
  local member, key = 'x:' .. id .. ':', P .. ':r:' .. id
  if left <= 0 then further[#further + 1] = member return end
  local paths, over = walk_on(id, '', left)
  local life, waiting = call('PTTL', key), {}
  if run then read_nodes(run, paths) end
  for _, path in ipairs(paths) do
    if run and has_waiting(run, path) then
      live_for(key .. ':s:' .. path, life)
      waiting[#waiting + 1] = path
    else
      call('UNLINK', key .. ':s:' .. path)
      call('SREM', key .. ':x', path)
    end
  end
  if run and run.ending == '-' and run.state ~= 'paused' then demand_all(run, waiting) end
  left = left - #paths
  if over then live_for(key .. ':x', life) else further[#further + 1] = member end
end

local members = call('ZRANGEBYSCORE', due, '-inf', NOW, 'LIMIT', 0, number())
for _, member in ipairs(members) do
  local kind, id, path = string.match(member, '^(%a):([^:]*):?(.*)$')
  local run = get_run(id)
  if kind == 'x' then
    walk(id, run)
  elseif run and not run.terminal then
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
for _, member in ipairs(further) do call('ZADD', due, NOW, member) end
save_queue()
ring()
save()
local next_due = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return {next_due or '0', #members}
