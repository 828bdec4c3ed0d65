-- DUE: promote retries whose delay is over, end runs past their timeout, and go on with what is to be done with the
-- scopes of runs with very many open branches (see `begin_walk`).
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many at most
-- returns  the time (ms) of the next one, 0 where there is none; how many were looked at
-- repeat   nothing is due
local due, further, left = P .. ':due', {}, SOME

-- As long as a run is kept: -1 where it is on its way, -2 where it has gone.
local function live_for(key, life)
  if life >= 0 then
    call('PEXPIRE', key, string.format('%d', life))
  elseif life == -2 then
    call('UNLINK', key)
  else
    call('PERSIST', key)
  end
end

-- Scopes that wait in branches of a run are kept as long as it is, go where it has gone already, and start where it goes
-- on. (A step of SSCAN may give the same branch once more, or some more than it was asked for.)
local function walk(id, run)
  local member, walks, key = 'x:' .. id .. ':', P .. ':walks', P .. ':r:' .. id
  if left <= 0 then further[#further + 1] = member return end
  local place = call('HGET', walks, id)
  if not place or string.find(place, '^K') then place = '0' end   -- see keep.lua
  local life, step = call('PTTL', key), call('SSCAN', key .. ':x', place, 'COUNT', left)
  for _, path in ipairs(step[2]) do live_for(key .. ':s:' .. path, life) end
  if run and run.ending == '-' and run.state ~= 'paused' then
    demand_all(run, step[2])
    minted[run.class] = minted[run.class] or ''   -- so that `ring` wakes who takes them
  end
  left = left - #step[2]
  if step[1] ~= '0' then
    call('HSET', walks, id, step[1])
    further[#further + 1] = member
  else
    call('HDEL', walks, id)
    live_for(key .. ':x', life)
  end
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
