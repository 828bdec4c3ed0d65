-- UNMAKE: forget nodes inside of what a new round is about to repeat, a piece at a time, while their run has
-- ended. What the run itself shows (its result, what is outside) stays until RETRY, so that a caller who dies
-- between the pieces leaves a run that has ended as before, without some details; `:y` says of which nodes.
-- uses: records
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, what is repeated; number of nodes, (path, attempt to keep ('' none), whether it is a
--          branch, number of data fields, fields)...
-- returns  'changed' where the run goes on, or another round is being prepared; else 'ok'
-- repeat   what has gone is passed over
local id, what = arg(), arg()
local run = get_run(id)
if not run or not run.terminal then return 'changed' end
local begun = call('HGET', run.key, ':y')
if begun and begun ~= what then return 'changed' end
call('HSET', run.key, ':y', what)
touch(run)
local fields = {}
for _ = 1, number() do
  local path, attempt, branch = arg(), arg(), arg() == '1'
  if call('HDEL', run.key, path) == 1 and attempt ~= '' then push(run, 'a', attempt) end
  if branch then
    call('UNLINK', run.key .. ':s:' .. path)
    call('SREM', run.key .. ':x', path)
  end
  for _ = 1, number() do fields[#fields + 1] = arg() end
end
call_many('HDEL', run.key .. ':d', fields, 1000)
save()
local life = call('PTTL', run.key)
if life > 0 then call('PEXPIRE', run.key .. ':a', life) end
return 'ok'
