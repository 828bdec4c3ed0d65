-- PRINTED: put what held tasks print at the end of their runs' logs, while they run.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; mark of this call, number of pieces, (run, path, hold, piece) of each
-- returns  for each 1, 0 where the task is held no more or the piece is there
-- repeat   the mark says that this call was executed
local mark, answers, fresh = arg(), {}, {}
for index = 1, number() do
  local id, path, held, piece = arg(), arg(), arg(), arg()
  local run = get_run(id)
  local node = run and get_node(run, path)
  answers[index] = 0
  if node and node[STATE] == 'R' and node[ENTRY] == held then
    local marked = run.key .. ':u:' .. held
    if fresh[marked] == nil then
      fresh[marked] = call('GET', marked) ~= mark
      call('SET', marked, mark, 'PX', HOUR)
    end
    if fresh[marked] then
      push(run, 'l', run.round .. ' ' .. piece)
      answers[index] = 1
    end
  end
end
save()
return answers
