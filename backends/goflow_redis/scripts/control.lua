-- CONTROL: pause, resume or stop a run.
-- uses: records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, action
-- returns  'gone' | 'ended' | 'ok', then the records :s and :i, then the recorded failure or false
-- repeat   nothing changes
local id, action = arg(), arg()
local run = get_run(id)
if not run then return {'gone'} end
if run.terminal then return {'ended', run_line(run), id_line(run), get_data(run, 'f:')} end

local function resume()
  run.state = run.started > 0 and 'running' or 'queued'
  touch(run)
  for _, path in ipairs(call('LPOP', run.key .. ':k', 256) or {}) do
    local node = get_node(run, path)
    if node and node.state == 'K' then make_ready(run, node) end
  end
  local waiting = {}
  if call('EXISTS', run.key .. ':k') == 1 then waiting = {''} end
  for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do waiting[#waiting + 1] = path end
  for _, path in ipairs(waiting) do call('ZADD', pump_key(run.class), NOW, run.id .. ':' .. path) end
end

if action == 'pause' and (run.state == 'queued' or run.state == 'running') then
  run.state = 'paused'
  touch(run)
elseif action == 'resume' and run.state == 'paused' then
  resume()
elseif action == 'stop' and run.state ~= 'stopping' then
  local parked = run.state == 'paused'
  run.state, run.kill = 'stopping', 1
  for _, path in ipairs(parked and HANDLERS or {}) do
    local node = get_node(run, path)
    if node and node.state == 'K' then make_ready(run, node) end
  end
  if run.phase == 0 then run.ending = 'stopped' end
  touch(run)
  call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'stop', id)
  settle(run)
end
save_queue()
save()
return {'ok', run_line(run), id_line(run), get_data(run, 'f:')}
