-- TIDY: what is wrong with the keys of runs, and putting it right, for `goflow doctor`.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; whether to put it right (1), number of runs, (run; number of its lasting keys, keys;
--          number of lists it is in, flows; number of its dates, members of the schedule)...
-- returns  how many keys would stay for ever though their run has ended or gone; keys that would go though it
--          is on its way; runs that are not in the list of runs, or not under their state; those that are and have
--          gone; dates of runs that have gone (but that of a walk, which removes what is left of one)
-- repeat   nothing is wrong
local fix = arg() == '1'
local leaks, endangered, unlisted, gone, dates = 0, 0, 0, 0, 0

-- Waiting scopes of a run with very many branches, and the list of these, are put right by DUE, which comes to them.
local function is_walked(id, key)
  local suffix = string.sub(key, #P + #id + 5)
  return (suffix == 'x' or string.find(suffix, '^s:')) and call('ZSCORE', P .. ':due', 'x:' .. id .. ':')
end

local function check_key(id, run, key)
  if is_walked(id, key) then return end
  local life, alive = call('PTTL', key), run and not run.terminal
  if life == -1 and not alive then
    leaks = leaks + 1
    if fix and run then call('PEXPIRE', key, run.state == 'failed' and DEAD or RETENTION) end
    if fix and not run then call('UNLINK', key) end
  elseif life >= 0 and alive then
    endangered = endangered + 1
    if fix then call('PERSIST', key) end
  end
end

-- The run's place in its flow's list.
local function check_place(run)
  local score = call('ZSCORE', list_key(run.flow), run.id)
  if score and tonumber(score) == score_of(run.state, run.date) then return end
  unlisted = unlisted + 1
  if not fix then return end
  call('ZADD', list_key(run.flow), score_of(run.state, run.date), run.id)
  call('SADD', P .. ':flows', run.flow)
end

-- One of the lists that the run is in.
local function check_list(id, run, flow)
  if run and run.flow == flow or not call('ZSCORE', list_key(flow), id) then return end
  if run then unlisted = unlisted + 1 else gone = gone + 1 end
  if fix then call('ZREM', list_key(flow), id) end
end

for _ = 1, number() do
  local id = arg()
  local run = get_run(id)
  for _ = 1, number() do check_key(id, run, arg()) end
  for _ = 1, number() do check_list(id, run, arg()) end
  if run then check_place(run) end
  for _ = 1, number() do
    local member = arg()
    if not run and not string.find(member, '^x:') then
      dates = dates + 1
      if fix then call('ZREM', P .. ':due', member) end
    end
  end
end
return {leaks, endangered, unlisted, gone, dates}
