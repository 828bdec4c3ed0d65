-- COMMIT: record outcomes of held tasks, then claim: the hot path, one call for a whole batch.
-- uses: records ready ending take
--
-- KEYS     the partition's prefix
-- ARGV     retention; worker, call number, whether this call is a repeat (1), limit, number of classes,
--          classes; number of outcomes, and for each:
--          a packed head: run, path, entry, kind, started, finished (ms), digest, has log, has attempt, then
--            ok      has output, ends, {write field ...}, {whether it sets ...},
--                    {{target, closing, expects, hash, source, ref, has payload} ...}
--            open    expects, window, has keys, scopes staged (-1 unknown), number of items, {field ...}, {sets ...}
--            retry   delay (ms)
--          log, attempt, output, value of each write that sets, payload of each arrival that has one, keys,
--          items, failure: those it has, in this order
-- returns  {accepted (0|1) ...}, {task ...}, 1 where nothing more is left to claim
-- repeat   an outcome already recorded under its entry is accepted and changes nothing; a repeated call gets
--          the tasks it was given the first time
local worker, number_of_call, again, limit = number(), arg(), number(), number()
local classes = {}
for index = 1, number() do classes[index] = arg() end

local function read_writes(o, fields, sets)
  o.writes = {}
  for index, field in ipairs(fields) do o.writes[index] = {field, sets[index] and arg()} end
end

local function read_outcome()
  local h = unpack_record(arg())
  local o = {run = h[1], path = h[2], entry = h[3], kind = h[4], started = h[5], finished = h[6], digest = h[7]}
  o.log, o.attempt = h[8] and arg(), h[9] and arg()
  if o.kind == 'ok' then
    o.output, o.ends = h[10] and arg(), h[11]
    read_writes(o, h[12], h[13])
    o.arrivals = h[14]
    for _, arrival in ipairs(o.arrivals) do arrival[8] = arrival[7] and arg() or nil end
  elseif o.kind == 'open' then
    o.expects, o.window, o.staged, o.items = h[10], h[11], h[13], {}
    read_writes(o, h[15], h[16])
    o.keys = h[12] and arg()
    for index = 1, h[14] do o.items[index] = arg() end
  elseif o.kind == 'retry' then
    o.delay, o.failure = h[10], arg()
  elseif o.kind == 'rescue' or o.kind == 'fail' then
    o.failure = arg()
  end
  return o
end

local settled = {}

local function write(run, o)
  for _, each in ipairs(o.writes) do set_data(run, each[1], each[2]) end
end

local function drop_staged(run, o) call('UNLINK', run.key .. ':t:' .. o.entry) end

local function forget_failure(node)
  clear_flag(node, 'e')
  clear_flag(node, 'h')
end

local commit = {}

function commit.ok(run, node, o)
  node.state = 'D'
  forget_failure(node)
  if o.output then set_data(run, 'o:' .. node.path, o.output) end
  write(run, o)
  if o.ends then
    set_data(run, 'e', node.path)
    if run.ending == '-' then set_ending(run, 'succeeded') end
  end
  for _, a in ipairs(o.arrivals) do
    deliver(run, a[1], a[2], a[3], a[4], a[5], a[6], a[8])
  end
end

function commit.open(run, node, o)
  local staging, pending = run.key .. ':t:' .. o.entry, scope_key(run, node)
  local staged = call('LLEN', staging)
  if o.staged >= 0 and staged ~= o.staged then   -- they expired: the branch has to open afresh
    drop_staged(run, o)
    run.held = run.held + 1
    requeue(run, node)
    return false
  end
  node.state, node.closings, node.closed = 'O', o.expects, 0
  forget_failure(node)
  node.width, node.released, node.window = staged + #o.items, 0, o.window
  if o.keys then
    set_data(run, 'k:' .. node.path, o.keys)
    set_flag(node, 'k')
  end
  write(run, o)
  if #o.items > 0 then call_many('RPUSH', staging, o.items, 1000) end
  if node.width > 0 then
    call('RENAME', staging, pending)
    call('PERSIST', pending)
    call('SADD', run.key .. ':x', node.path)
    use(run, 'x')
    if run.ending == '-' then release(run, node, 64) end
    if room(node) > 0 then call('ZADD', pump_key(run.class), NOW, run.id .. ':' .. node.path) end
  end
  if o.expects == 0 then
    set_flag(node, 'c')
    make_ready(run, node)
  end
end

local function record_failure(run, node, o)
  node.state = 'F'
  set_data(run, 'f:' .. node.path, o.failure)
  set_flag(node, 'e')
end

function commit.retry(run, node, o)
  record_failure(run, node, o)
  if gives_up(run, node) then return end
  clear_flag(node, 'h')
  node.attempt, node.lost = node.attempt + 1, 0
  node.state, node.due = 'T', NOW + o.delay
  call('ZADD', P .. ':due', node.due, 'n:' .. run.id .. ':' .. node.path)
end

function commit.rescue(run, node, o)
  record_failure(run, node, o)
  if gives_up(run, node) then return end
  set_flag(node, 'h')
  node.lost = 0
  make_ready(run, node)
end

function commit.fail(run, node, o)
  record_failure(run, node, o)
  if string.sub(node.path, 1, 1) ~= '~' then set_ending(run, 'failed', o.failure) end
end

function commit.stop(run, node) node.state = 'C' end

function commit.release(run, node)
  run.held = run.held + 1
  requeue(run, node)
end

local function accept_outcome(o)
  local run = get_run(o.run, o.path)
  local node = run and get_node(run, o.path)
  if not node or node.entry ~= o.entry then return 0 end
  if node.state ~= 'R' then return (node.state == 'Q' or node.state == 'K') and 0 or 1 end
  acknowledge(run.class, o.entry)
  run.held = run.held - 1
  node.finished = o.finished - run.created
  node.digest = o.digest
  if o.kind ~= 'release' then
    run.acts = run.acts + 1
    node.act = run.acts
  end
  if o.kind ~= 'release' and not has_flag(node, 'c') then node.started = o.started - run.created end
  change(run, node)
  if commit[o.kind](run, node, o) == false then return 0 end
  if o.kind ~= 'ok' and o.kind ~= 'open' then drop_staged(run, o) end
  if o.attempt and node.state ~= 'F' then push(run, 'a', run.round .. ' ' .. node.act .. ' ' .. o.attempt) end
  if o.log then push(run, 'l', run.round .. ' ' .. o.log) end
  settled[run] = true
  return 1
end

local accepted = {}
for index = 1, number() do accepted[index] = accept_outcome(read_outcome()) end
for run in pairs(settled) do settle(run) end
save_queue()

local memory = P .. ':w:' .. worker
local tasks, held
if again == 1 and limit > 0 then
  local words = {}
  for word in string.gmatch((call('GET', memory) or '') .. '\0', '(%Z*)%z') do words[#words + 1] = word end
  if words[1] == number_of_call then
    tasks = {}
    for index = 2, #words - 2, 3 do
      local run = get_run(words[index], words[index + 1])
      local node = run and get_node(run, words[index + 1])
      if node and node.state == 'R' and node.entry == words[index + 2] then
        tasks[#tasks + 1] = describe(run, node)
      end
    end
  end
end
local hungry = false
if not tasks then
  tasks, held, hungry = take(worker, limit, classes)
  if #held > 0 then
    call('SET', memory, number_of_call .. '\0' .. table.concat(held, '\0'), 'PX', HOUR)
  end
end
save()

return {accepted, tasks, hungry and 1 or 0}
