-- CONTROL: pause, resume or stop a run.
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, action
-- returns  'gone' | 'ended' | 'ok', then the records :s and :i, then the recorded failure or false
-- repeat   nothing changes
local id, action = arg(), arg()
local run = get_run(id)
if not run then return {'gone'} end
if run.terminal then return {'ended', run_record(run), id_record(run), get_data(run, 'f:')} end

-- What waits in a run with an ending are its handlers, and nothing else ever goes on.
local function free_handlers()
  for _, path in ipairs(HANDLERS) do
    local node = get_node(run, path)
    if node and node[STATE] == 'K' then make_ready(run, node) end
  end
end

local function resume()
  run.state = run.started > 0 and 'running' or 'queued'
  touch(run)
  call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'resume', id)   -- for tasks that wait undelivered
  if run.ending ~= '-' then return free_handlers() end
  if unpark(run, 128) then demand_all(run, {''}) end
  if string.find(run.uses, 'm', 1, true) then demand_all(run, {'*'}) end
  if string.find(run.uses, 'x', 1, true) then demand_scopes(run) end
end

local function stop()
  local paused = run.state == 'paused'
  run.kill = 1
  if run.ending == '-' then run.ending, run.state = 'stopped', 'stopping' end
  if run.state == 'paused' then run.state = 'running' end
  touch(run)
  if paused then free_handlers() end
  call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'stop', id)
  settle(run)
end

if action == 'pause' and run.ending == '-' and run.state ~= 'paused' then
  run.state = 'paused'
  touch(run)
elseif action == 'resume' and run.state == 'paused' then
  resume()
elseif action == 'stop' and run.kill == 0 then
  stop()
end
save_queue()
ring()
save()
return {'ok', run_record(run), id_record(run), get_data(run, 'f:')}
