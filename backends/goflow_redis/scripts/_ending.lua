-- Ending: how a run with an ending gets through its handlers to its terminal state.
local HANDLERS = {'~on_failure', '~finally'}

local function applies(run, phase)
  if phase == 1 then return run.ending == 'failed' and string.find(run.handlers, 'o', 1, true) end
  return string.find(run.handlers, 'f', 1, true)
end

-- Durations are counted by powers of two (goflow/figures.py): place e has those below 2^e ms.
local function count_end(run)
  local took = math.max(0, NOW - run.created)
  local _, place = math.frexp(took)
  count(run.flow .. ' ' .. run.state .. ' ' .. math.min(place, 25), 1)
  count(run.flow .. ' run:ms', took)
end

-- A run that is to be told: it stays in the stream until a teller acknowledges it.
local function tell_end(run)
  if TRACED or string.find(run.uses, 't', 1, true) then
    call('XADD', P .. ':untold', 'MAXLEN', '~', 100000, '*', 'r', run.id, 'n', run.round, 's', run.state,
      'b', run.started, 'f', NOW)
  end
end

local function finish(run)
  run.state, run.finished, run.terminal, run.ended = run.ending, NOW, true, true
  touch(run)
  if run.timeout > 0 then call('ZREM', P .. ':due', 't:' .. run.id) end
  count_end(run)
  tell_end(run)
end

-- Moves an ending run on when nothing of it runs: `~on_failure`, `~finally`, the end.
local function settle(run)
  if run.ending == '-' or run.terminal or run.held > 0 then return end
  while run.phase < 3 do
    if run.phase > 0 and applies(run, run.phase) then
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
local function requeue(run, node)
  run.held = run.held - 1
  make_ready(run, node)
end
