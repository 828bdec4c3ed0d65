-- Records: the run and the nodes a script touches, read once, changed in memory, written once.
--
-- A script decides first and writes last, so that nothing is written when a check fails, and a batch of
-- outcomes of one run costs one read and one write of it. `save` is the only writer of run hashes.
--
-- Records are msgpack arrays of numbers and names (never of payloads): C packs them a dozen times faster than
-- Lua joins and splits lines. The run's are `:s`,
--   state ending phase kill held rev seq acts round started finished uses
-- and `:i`, what does not change within a round:
--   flow fingerprint created timeout handlers
-- and a node's
--   state entry attempt lost round last act worker seq ready started finished due have expects flags digest inbox
--   width released window closings closed
-- Times are ms: `created`, run times and `due` since the epoch, a node's others since its run was created, false
-- where there is none. `uses` are letters of keys the run has beyond `:d`. `round` is the one a node came up
-- in, `last` that of its last attempt, `act` that attempt's number in the run. The last five are an opened
-- branch's: `closed` of the `closings` that complete it have arrived.
local P, call = KEYS[1], redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local HOUR = 3600000

local cursor = 0
local function arg() cursor = cursor + 1 return ARGV[cursor] end
local function number() cursor = cursor + 1 return tonumber(ARGV[cursor]) end

local RETENTION = number()
local runs, touched = {}, {}

local pack, unpack_record = cmsgpack.pack, cmsgpack.unpack

local function touch(run)
  if not run.touched then
    run.touched = true
    touched[#touched + 1] = run
  end
end

local function read_node(path, line)
  local n = unpack_record(line)
  return {
    path = path, state = n[1], entry = n[2], attempt = n[3], lost = n[4], round = n[5], last = n[6], act = n[7],
    worker = n[8], seq = n[9], ready = n[10], started = n[11], finished = n[12], due = n[13], have = n[14],
    expects = n[15], flags = n[16], digest = n[17], inbox = n[18], width = n[19], released = n[20],
    window = n[21], closings = n[22], closed = n[23],
  }
end

-- The run, false where there is none. A node of it named at once is read with it.
local function get_run(id, path)
  local run = runs[id]
  if run ~= nil then return run end
  local key = P .. ':r:' .. id
  local raw = call('HMGET', key, ':s', ':i', ':h', ':w', path or ':s')
  if not raw[1] then runs[id] = false return false end
  local s, i = unpack_record(raw[1]), unpack_record(raw[2])
  run = {
    id = id, key = key, state = s[1], ending = s[2], phase = s[3], kill = s[4], held = s[5], rev = s[6],
    seq = s[7], acts = s[8], round = s[9], started = s[10], finished = s[11], uses = s[12],
    flow = i[1], fingerprint = i[2], created = i[3], timeout = i[4], handlers = i[5],
    class = i[1] .. ':' .. i[2], head = raw[3] or '', watched = raw[4] and tonumber(raw[4]) > NOW,
    nodes = {}, changed = {}, data = {}, sets = {}, pushes = {},
  }
  run.terminal = s[1] == 'succeeded' or s[1] == 'failed' or s[1] == 'stopped'
  if path then run.nodes[path] = raw[5] and read_node(path, raw[5]) end
  runs[id] = run
  return run
end

local function run_line(run)
  return pack({run.state, run.ending, run.phase, run.kill, run.held, run.rev, run.seq, run.acts, run.round,
    run.started, run.finished, run.uses})
end

local function id_line(run)
  return pack({run.flow, run.fingerprint, run.created, run.timeout, run.handlers})
end

local function get_node(run, path)
  local node = run.nodes[path]
  if node == nil then
    local line = call('HGET', run.key, path)
    node = line and read_node(path, line)
    run.nodes[path] = node
  end
  return node
end

local function new_node(run, path, expects)
  local node = {
    path = path, state = 'W', entry = '-', attempt = 1, lost = 0, round = run.round, last = 0, act = 0,
    worker = 0, seq = 0, ready = false, started = false, finished = false, due = 0, have = 0,
    expects = expects, flags = '', digest = '', inbox = '', width = nil, released = nil, window = nil,
    closings = nil, closed = nil,
  }
  run.nodes[path] = node
  return node
end

local function node_line(n)
  local line = {n.state, n.entry, n.attempt, n.lost, n.round, n.last, n.act, n.worker, n.seq, n.ready, n.started,
    n.finished, n.due, n.have, n.expects, n.flags, n.digest, n.inbox, n.width, n.released, n.window, n.closings,
    n.closed}
  return pack(line)
end

-- the run has a key with this suffix, which must go when it does
local function use(run, letter)
  if not string.find(run.uses, letter, 1, true) then run.uses = run.uses .. letter end
end

local function change(run, node)
  touch(run)
  run.changed[node.path] = node
end

local function has_flag(node, letter) return string.find(node.flags, letter, 1, true) ~= nil end

local function set_flag(node, letter)
  if not has_flag(node, letter) then
    node.flags = node.flags .. letter
  end
end

local function clear_flag(node, letter)
  if node.flags ~= '' then node.flags = (string.gsub(node.flags, letter, '')) end
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
  use(run, list)
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
  call('PEXPIRE', run.key, RETENTION)
  call('PEXPIRE', run.key .. ':d', RETENTION)
  for letter in string.gmatch(run.uses, '[alx]') do call('PEXPIRE', run.key .. ':' .. letter, RETENTION) end
  if string.find(run.uses, 'k', 1, true) then call('UNLINK', run.key .. ':k') end
  if string.find(run.uses, 'x', 1, true) then
    for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do
      call('PEXPIRE', run.key .. ':s:' .. path, RETENTION)
    end
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
    if run.watched then call('XADD', run.key .. ':ev', 'NOMKSTREAM', 'MAXLEN', '~', '4', '*', 'v', '1') end
    run.changed, run.sets, run.pushes, run.touched = {}, {}, {}, false
  end
  touched = {}
end
