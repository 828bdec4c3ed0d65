-- Records: the run and the nodes a script touches, read once, changed in memory, written once.
--
-- A script decides first and writes last, so that nothing is written when a check fails, and a batch of
-- outcomes of one run costs one read and one write of it. `save` is the only writer of run hashes.
--
-- The run record `:s` is one line of words:
--   state ending phase kill held rev seq acts round started finished
-- and `:i`, what does not change within a round:
--   flow fingerprint created timeout handlers
-- A node record is one line of words, then its inbox:
--   state entry attempt lost round last act worker seq ready started finished due have expects scopes flags digest
-- `round` is the one it came up in, `last` that of its last attempt, `act` that attempt's number in the run.
-- Times are ms: `created`, run times and `due` since the epoch, a node's others since its run was created,
-- `-` where there is none.
-- `scopes` is `width/released/window/closings/closed` of an opened branch, else `-`: `closed` of the `closings`
-- that complete it have arrived.
local P, call = KEYS[1], redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local HOUR = 3600000

local cursor = 0
local function arg() cursor = cursor + 1 return ARGV[cursor] end
local function number() cursor = cursor + 1 return tonumber(ARGV[cursor]) end

local RETENTION = number()
local runs, touched = {}, {}

local RUN = '^(%S+) (%S+) (%d) (%d) (%-?%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$'
local ID = '^(%S+) (%S+) (%d+) (%d+) (%S+)$'
local NODE = '^(%u) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+)'
  .. ' (%S+) (%S+) ([^%z ]+)(.*)$'

local function touch(run)
  if not run.touched then
    run.touched = true
    touched[#touched + 1] = run
  end
end

local function get_run(id)
  local run = runs[id]
  if run ~= nil then return run end
  local key = P .. ':r:' .. id
  local raw = call('HMGET', key, ':s', ':i', ':h')
  if not raw[1] then runs[id] = false return false end
  local state, ending, phase, kill, held, rev, seq, acts, round, started, finished = string.match(raw[1], RUN)
  local flow, fingerprint, created, timeout, handlers = string.match(raw[2], ID)
  run = {
    id = id, key = key, state = state, ending = ending, phase = phase + 0, kill = kill + 0,
    held = held + 0, rev = rev + 0, seq = seq + 0, acts = acts + 0, round = round + 0, started = started + 0,
    finished = finished + 0, flow = flow, fingerprint = fingerprint, created = created + 0,
    timeout = timeout + 0, handlers = handlers, class = flow .. ':' .. fingerprint, head = raw[3] or '',
    nodes = {}, changed = {}, data = {}, sets = {}, pushes = {},
  }
  run.terminal = state == 'succeeded' or state == 'failed' or state == 'stopped'
  runs[id] = run
  return run
end

local function run_line(run)
  return table.concat({run.state, run.ending, run.phase, run.kill, run.held, run.rev, run.seq, run.acts, run.round,
    run.started, run.finished}, ' ')
end

local function id_line(run)
  return table.concat({run.flow, run.fingerprint, run.created, run.timeout, run.handlers}, ' ')
end

local function get_node(run, path)
  local node = run.nodes[path]
  if node ~= nil then return node end
  local raw = call('HGET', run.key, path)
  if not raw then run.nodes[path] = false return false end
  local state, entry, attempt, lost, round, last, act, worker, seq, ready, started, finished, due, have, expects,
    scopes, flags, digest, inbox = string.match(raw, NODE)
  node = {
    path = path, state = state, entry = entry, attempt = attempt + 0, lost = lost + 0, round = round + 0,
    last = last + 0, act = act + 0, worker = worker + 0, seq = seq + 0, ready = ready, started = started, finished = finished,
    due = due + 0, have = have + 0, expects = expects + 0, flags = flags, digest = digest, inbox = inbox,
  }
  if scopes ~= '-' then
    local width, released, window, closings, closed = string.match(scopes, '^(%d+)/(%d+)/(%d+)/(%d+)/(%d+)$')
    node.width, node.released, node.window = width + 0, released + 0, window + 0
    node.closings, node.closed = closings + 0, closed + 0
  end
  run.nodes[path] = node
  return node
end

local function new_node(run, path, expects)
  local node = {
    path = path, state = 'W', entry = '-', attempt = 1, lost = 0, round = run.round, last = 0, act = 0, worker = 0, seq = 0,
    ready = '-', started = '-', finished = '-', due = 0, have = 0, expects = expects, flags = '-', digest = '-',
    inbox = '',
  }
  run.nodes[path] = node
  return node
end

local function node_line(node)
  local scopes = '-'
  if node.width then
    scopes = table.concat({node.width, node.released, node.window, node.closings, node.closed}, '/')
  end
  return table.concat({node.state, node.entry, node.attempt, node.lost, node.round, node.last, node.act, node.worker, node.seq,
    node.ready, node.started, node.finished, node.due, node.have, node.expects, scopes, node.flags,
    node.digest}, ' ') .. node.inbox
end

local function change(run, node)
  touch(run)
  run.changed[node.path] = node
end

local function has_flag(node, letter) return string.find(node.flags, letter, 1, true) ~= nil end

local function set_flag(node, letter)
  if not has_flag(node, letter) then
    node.flags = node.flags == '-' and letter or node.flags .. letter
  end
end

local function clear_flag(node, letter)
  node.flags = string.gsub(node.flags, letter, '')
  if node.flags == '' then node.flags = '-' end
end

-- the data hash: results, inputs, failures, context values
local function get_data(run, field)
  local value = run.data[field]
  if value == nil then
    value = call('HGET', run.key .. ':d', field)
    run.data[field] = value
  end
  return value
end

local function set_data(run, field, value)
  touch(run)
  run.data[field] = value
  run.sets[field] = value
end

-- value is appended to one of the run's lists ('a' attempts, 'l' logs) when the script saves
local function push(run, list, value)
  touch(run)
  local values = run.pushes[list]
  if not values then
    values = {}
    run.pushes[list] = values
  end
  values[#values + 1] = value
end

-- redis.call with any number of trailing arguments: `unpack` fails near 8,000
local function call_many(command, key, values, step)
  for first = 1, #values, step do
    call(command, key, unpack(values, first, math.min(first + step - 1, #values)))
  end
end

local function expire_run(run)
  for _, key in ipairs({run.key, run.key .. ':d', run.key .. ':a', run.key .. ':l', run.key .. ':x'}) do
    call('PEXPIRE', key, RETENTION)
  end
  for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do
    call('PEXPIRE', run.key .. ':s:' .. path, RETENTION)
  end
end

local function save()
  for _, run in ipairs(touched) do
    run.rev = run.rev + 1
    local values = {':s', run_line(run)}
    for path, node in pairs(run.changed) do
      values[#values + 1] = path
      values[#values + 1] = node_line(node)
    end
    call_many('HSET', run.key, values, 1000)
    local sets, gone = {}, {}
    for field, value in pairs(run.sets) do
      if value then
        sets[#sets + 1] = field
        sets[#sets + 1] = value
      else
        gone[#gone + 1] = field
      end
    end
    if #sets > 0 then call_many('HSET', run.key .. ':d', sets, 1000) end
    if #gone > 0 then call_many('HDEL', run.key .. ':d', gone, 1000) end
    for list, pushed in pairs(run.pushes) do call_many('RPUSH', run.key .. ':' .. list, pushed, 1000) end
    if run.ended then expire_run(run) end
    call('XADD', run.key .. ':ev', 'NOMKSTREAM', 'MAXLEN', '~', 4, '*', 'v', run.rev)
    run.changed, run.sets, run.pushes, run.touched = {}, {}, {}, false
  end
  touched = {}
end
