-- STAGE: keep scopes of a branch that is about to open, or what an outcome sends on, out of sight until it is committed.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, path, hold, mark of this call, number of items, items (see `enter_scope`; of an outcome that
--          sends on very much, see `open_mail`)
-- returns  how many are staged now; -1 where the task is held no more
-- repeat   the mark says that this chunk is there
local id, path, held, mark = arg(), arg(), arg(), arg()
local run = get_run(id)
local node = run and get_node(run, path)
if not node or node[STATE] ~= 'R' or node[ENTRY] ~= held then return -1 end
local staging, marked = run.key .. ':t:' .. held, run.key .. ':u:' .. held
if call('GET', marked) ~= mark then
  local items = {}
  for index = 1, number() do items[index] = arg() end
  call_many('RPUSH', staging, items, 1000)
  call('SET', marked, mark, 'PX', HOUR)
end
call('PEXPIRE', staging, HOUR)
return call('LLEN', staging)
