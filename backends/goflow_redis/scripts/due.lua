-- DUE: promote retries whose delay is over, end runs past their timeout, and go on with the expiry of what ended runs
-- with very many open branches leave.
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; how many at most
-- returns  the time (ms) of the next one, 0 where there is none; how many were looked at
-- repeat   nothing is due
local due, further, left = P .. ':due', {}, SOME

-- As long as a run is kept: -1 where it has no end of its own, -2 where it has gone.
local function expire_in(key, life)
  if life >= 0 then
    call('PEXPIRE', key, string.format('%d', life))
  elseif life == -2 then
    call('UNLINK', key)
  end
end

-- Scopes that wait in branches of a run that has ended are kept as long as it is, and go where it has gone already. (A
-- step of SSCAN may give the same branch once more, or some more than it was asked for.)
local function expire_scopes(id, member, place)
  if left <= 0 then further[#further + 1] = member return end
  local key = P .. ':r:' .. id
  local life, step = call('PTTL', key), call('SSCAN', key .. ':x', place, 'COUNT', left)
  for _, path in ipairs(step[2]) do expire_in(key .. ':s:' .. path, life) end
  left = left - #step[2]
  if step[1] ~= '0' then
    further[#further + 1] = 'x:' .. id .. ':' .. step[1]
  else
    expire_in(key .. ':x', life)
  end
end

local members = call('ZRANGEBYSCORE', due, '-inf', NOW, 'LIMIT', 0, number())
for _, member in ipairs(members) do
  local kind, id, path = string.match(member, '^(%a):([^:]*):?(.*)$')
  local run = get_run(id)
  if kind == 'x' and (not run or run.terminal) then
    expire_scopes(id, member, path)
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
