-- LOST: nodes that nothing would ever take again, since an entry, a date or a place in a list is gone, and an end
-- that nobody would ever reach, for `goflow doctor`.
-- uses: basics records ready ending group
--
-- KEYS     the partition's prefix
-- ARGV     retention; whether to put it right (1), run, whether to look at the run's own date and end (1), number of
--          node paths, paths
-- returns  how many are lost, the run's own among them
-- repeat   nothing is lost
local fix, run, itself, lost = arg() == '1', get_run(arg()), arg() == '1', 0
if not run or run.terminal then return 0 end
local queue, pump, due = queue_key(run.class), pump_key(run.class), P .. ':due'
local delivered = last_delivered(queue)
local going = run.ending == '-' and run.state ~= 'paused'
local walked = call('ZSCORE', due, 'x:' .. run.id .. ':')   -- its branches are about to be gone through

local function missing(put_right)
  lost = lost + 1
  if fix then put_right() end
end

local function in_queue(entry)
  if call('EXISTS', queue) == 0 or #call('XRANGE', queue, entry, entry) == 0 then return false end
  if after(entry, delivered) then return true end
  local pending = redis.pcall('XPENDING', queue, 'g', entry, entry, 1)
  return not pending.err and #pending > 0
end

local function pumped(path) return call('ZSCORE', pump, run.id .. ':' .. path) end

local function pump_again(path) demand_all(run, {path}) end

local check = {}

function check.Q(node)
  if in_queue(node[ENTRY]) then return end
  missing(function()
    acknowledge(run.class, node[ENTRY])
    make_ready(run, node)
  end)
end

-- Its holder is refused from now on, as after a lease that ran out.
function check.R(node)
  local entry = entry_of(node[ENTRY])
  if in_queue(entry) then return end
  missing(function()
    acknowledge(run.class, entry)
    requeue(run, node)
  end)
end

function check.T(node)
  local member = 'n:' .. run.id .. ':' .. node[PATH]
  if not call('ZSCORE', due, member) then missing(function() call('ZADD', due, node[DUE], member) end) end
end

-- In a run with an ending only handlers go on, and these wait for nothing but the end of a pause.
function check.K(node)
  if run.ending ~= '-' then
    if is_handler(node) and run.state ~= 'paused' then missing(function() make_ready(run, node) end) end
    return
  end
  if not call('LPOS', run.key .. ':k', node[PATH]) then
    missing(function() make_ready(run, node) end)
  elseif going and not pumped('') then
    missing(function() pump_again('') end)
  end
end

function check.O(node)
  local idle = going and node[RELEASED] == node[CLOSED] and node[RELEASED] < node[WIDTH]
  if idle and not pumped(node[PATH]) and not walked then
    missing(function() pump_again(node[PATH]) end)
  end
end

-- Whether the run is about to end, and neither a held node nor a handler will move it on.
local function stranded()
  if run.ending == '-' or run.held > 0 then return false end
  local handler = HANDLERS[run.phase] and get_node(run, HANDLERS[run.phase])
  return not handler or string.find('DFC', handler[STATE], 1, true) ~= nil
end

local function check_itself()
  if run.timeout > 0 and run.started > 0 and run.ending == '-' and not call('ZSCORE', due, 't:' .. run.id) then
    missing(function() call('ZADD', due, run.started + run.timeout, 't:' .. run.id) end)
  end
  if going and string.find(run.uses, 'm', 1, true) and not pumped('*') then
    missing(function() pump_again('*') end)
  end
  if stranded() then missing(function() end) end   -- `settle` puts it right, at the end
end

if itself then check_itself() end
for _ = 1, number() do
  local node = get_node(run, arg())
  if node and check[node[STATE]] then check[node[STATE]](node) end
end
if fix and lost > 0 then
  call('SADD', P .. ':classes', run.class)   -- what is put back is queued where somebody looks
  settle(run)
end
save_queue()
ring()
save()
return lost
