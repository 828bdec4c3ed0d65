-- Ending: how a run with an ending gets through its handlers to its terminal state.
local HANDLERS = {'~on_failure', '~finally'}

-- rare
local function applies(run, phase)
  if phase == 1 then return run.ending == 'failed' and string.find(run.handlers, 'o', 1, true) end
  return string.find(run.handlers, 'f', 1, true)
end

-- A run that is to be told: it stays in the stream until a teller acknowledges it.
-- rare
local function tell_end(run)
  call('XADD', P .. ':untold', 'MAXLEN', '~', 100000, '*', 'r', run.id, 'n', run.round, 's', run.state,
    'b', run.started, 'f', NOW)
end

-- Durations are counted by powers of two (goflow/figures.py): place e has those below 2^e ms.
local function count_end(flow, state, took)
  local _, place = math.frexp(took)
  local figure, sum = flow .. ' ' .. state .. ' ' .. math.min(place, 25), flow .. ' run:ms'
  counts[figure], counts[sum] = (counts[figure] or 0) + 1, (counts[sum] or 0) + took
end

local function finish(run)
  local state, took = run.ending, math.max(0, NOW - run.created)
  run.state, run.finished, run.terminal, run.ended = state, NOW, true, true
  touch(run)
  if run.timeout > 0 then call('ZREM', P .. ':due', 't:' .. run.id) end
  count_end(run.flow, state, took)
  if TRACED or string.find(run.uses, 't', 1, true) then tell_end(run) end
end

-- Moves an ending run on when nothing of it runs: `~on_failure`, `~finally`, the end.
local function settle(run)
  if run.ending == '-' or run.terminal or run.held > 0 then return end
  while run.phase < 3 do
    if run.phase > 0 and run.handlers ~= '-' and applies(run, run.phase) then
      local path = HANDLERS[run.phase]
      local node = get_node(run, path)
      if not node then return make_ready(run, new_node(run, path, 0)) end
      if not string.find('DFC', node[STATE], 1, true) then return end
    end
    run.phase = run.phase + 1
    touch(run)
  end
  finish(run)
end

local function set_ending(run, ending, failure)
  if run.ending ~= '-' then return end
  run.ending = ending
  if failure then set_data(run, 'f:', failure) end
  touch(run)
end

-- A failed attempt that another would have followed, had the run not been about to end.
local function gives_up(run, node) return run.ending ~= '-' or is_handler(node) end

-- A held node goes back: queued again, or left for a new round where its run has an ending.
-- rare
local function requeue(run, node)
  run.held = run.held - 1
  make_ready(run, node)
end
