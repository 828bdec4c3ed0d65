-- PREPARE: a piece of what a new round of a huge run changes, while the run has ended: inside of what is repeated nodes
-- are forgotten, and unfinished nodes are parked, from where RETRY and claims take them. What the run itself shows
-- (its result, what is outside) stays until RETRY, so that a caller who dies between the pieces leaves a run that has
-- ended as before, without some details; `:y` says of which nodes. A parked node bears the round as its date, and
-- what it tells is as before.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, round, what is repeated ('' nothing); number of data fields to forget, fields; number of
--          nodes to forget, (path, attempt to keep ('' none), whether it is a branch)...; number of nodes to park,
--          (path, attempt to keep)...
-- returns  'changed' where the run goes on, or another round is being prepared; else 'ok'
-- repeat   what has gone and what is parked is passed over
local id, round, what = arg(), number(), arg()
local run = get_run(id)
if not run or not run.terminal or run.round + 1 ~= round then return 'changed' end
if what ~= '' then
  local begun = call('HGET', run.key, ':y')
  if begun and begun ~= what then return 'changed' end
  if not begun then call('HSET', run.key, ':y', what) end
end
touch(run)
local fields = {}
for index = 1, number() do fields[index] = arg() end
call_many('HDEL', run.key .. ':d', fields, 1000)
for _ = 1, number() do
  local path, attempt, branch = arg(), arg(), arg() == '1'
  if call('HDEL', run.key, path) == 1 and attempt ~= '' then push(run, 'a', attempt) end
  if branch then
    call('UNLINK', run.key .. ':s:' .. path)
    call('SREM', run.key .. ':x', path)
  end
end
local parked = {}
for _ = 1, number() do
  local path, attempt = arg(), arg()
  local node = get_node(run, path)
  if node and string.find('QKRTFC', node[STATE], 1, true) and not (node[STATE] == 'K' and node[DUE] == round) then
    if attempt ~= '' then push(run, 'a', attempt) end
    if node[STATE] == 'K' and node[DUE] > 0 then begin_again(node) end   -- what it told is of an earlier round
    node[FLAGS] = node[FLAGS] .. node[STATE]
    node[STATE], node[DUE] = 'K', round
    change(run, node)
    parked[#parked + 1] = path
  end
end
if parked[1] then
  use(run, 'k')
  call_many('RPUSH', run.key .. ':k', parked, 1000)
end
save()
local life = call('PTTL', run.key)
if life > 0 then
  for _, list in ipairs({':a', ':k'}) do call('PEXPIRE', run.key .. list, life) end
end
return 'ok'
