-- Records: the run and the nodes a script touches, read once, changed in memory, written once.
--
-- A script decides first and writes last, so that nothing is written when a check fails, and a batch of
-- outcomes of one run costs one read and one write of it. `save` is the only writer of run hashes.
--
-- Records are msgpack arrays of numbers and names (never of payloads): C packs them a dozen times faster than
-- Lua joins and splits lines. The run's are `:s`,
--   state ending phase kill held rev seq acts round started finished uses
-- and `:i`, what does not change within a round:
--   flow fingerprint date timeout handlers
-- and a node's
--   state entry act worker seq ready started finished have expects digest inbox
-- where it is in its first attempt, of the first round, and nothing else is to be told; else
--   attempt lost round last due flags
-- before these, and after them of a branch that was opened
--   width released window closings closed
-- Most are of the first form, and with names of usual length have no more than 64 bytes: with more, a run's hash loses the
-- compact form, and an end of five nodes takes 2,400 bytes in place of 1,800.
-- `date` is when the run was created, in us, which no two runs of a partition should share: lists are ordered by it.
-- Times are ms: run times and `due` since the epoch, a node's others since its run was created, false
-- where there is none. `uses` are letters of keys the run has beyond `:d`. `round` is the one a node came up
-- in, `last` that of its last attempt, if it had one, `act` that attempt's number in the run. The last five are an opened
-- branch's: `closed` of the `closings` that complete it have arrived.

-- The score of a run in the list of its flow.
local function score_of(state, date)
  local place = state == 'queued' and 0 or state == 'running' and 1 or state == 'succeeded' and 4
    or ({paused = 2, stopping = 3, failed = 5, stopped = 6})[state]
  return place * SPAN + math.max(0, date - SINCE)
end

-- the first argument: how long (ms) ended runs are kept, and failed ones; the caller's lease (ms), all as texts; then
-- whether traces are on
local lives = arg()
local RETENTION, DEAD, LEASE, TRACED = elements(lives, 1)
local runs, touched = {}, {}

-- A run in memory is an array of these, which `run.state` and the like are made numbers of (see scripts.py): a table
-- of names would take three times as long to make.
-- run: id key state ending phase kill held rev seq acts round started finished uses flow fingerprint created timeout
-- run: handlers class head identity watched terminal ended touched nodes changed data sets pushes date
-- run: listed

-- A node in memory is its path and then its record: an array, since a table of names costs four times as much.
local PATH, ATTEMPT, LOST, ROUND, LAST, DUE, FLAGS = 1, 2, 3, 4, 5, 6, 7
local STATE, ENTRY, ACT, WORKER, SEQ, READY, STARTED, FINISHED = 8, 9, 10, 11, 12, 13, 14, 15
local HAVE, EXPECTS, DIGEST, INBOX, WIDTH, RELEASED, WINDOW, CLOSINGS, CLOSED = 16, 17, 18, 19, 20, 21, 22, 23, 24

-- Handlers run when a run is about to end; `~result`, the join of several ends, is a node like any other.
local function is_handler(node) return node[PATH] == '~on_failure' or node[PATH] == '~finally' end

local function touch(run)
  if not run.touched then
    run.touched = true
    touched[#touched + 1] = run
  end
end

local function read_node(path, record)
  if string.byte(record) == 156 then return {path, 1, 0, 1, 1, 0, '', elements(record, 1)} end
  return {path, elements(record, 3)}
end

-- (What all reads ask for has its place before the nodes, whether it says anything or not: a small hash is walked from
-- the first field on, past all nodes where a field is missing.)
local function read_run(key, path) return call('HMGET', key, ':s', ':i', ':h', ':w', path) end

-- The run, false where there is none. A node of it named at once is read with it; `raw` is what was read before.
local function get_run(id, path, raw)
  local run = runs[id]
  if run ~= nil then return run end
  local key = P .. ':r:' .. id
  raw = raw or read_run(key, path or ':s')
  if not raw[1] then runs[id] = false return false end
  local state, ending, phase, kill, held, rev, seq, acts, round, started, finished, uses = elements(raw[1], 1)
  local flow, fingerprint, date, timeout, handlers = elements(raw[2], 1)
  local watched = raw[4] and raw[4] ~= '0' and tonumber(raw[4]) > NOW and raw[4]
  local terminal = state == 'succeeded' or state == 'failed' or state == 'stopped'
  local nodes = path and {[path] = raw[5] and read_node(path, raw[5])} or {}
  run = {id, key, state, ending, phase, kill, held, rev, seq, acts, round, started, finished, uses, flow, fingerprint,
    math.floor(date / 1000), timeout, handlers, flow .. ':' .. fingerprint, raw[3], raw[2], watched, terminal, false,
    false, nodes, false, false, false, false, date, state}
  runs[id] = run
  return run
end

-- Records are packed element by element, behind the header of an array of so many: to have a table packed costs a
-- quarter more. cmsgpack makes a text of each element and joins these, some 450 instructions each. So what takes a byte
-- as it is goes by `char`: numbers below 128, and the head of a text below 32 bytes.
local function run_record(run)
  local state, ending, rev, seq, acts, uses = run.state, run.ending, run.rev, run.seq, run.acts, run.uses
  if rev > 127 or seq > 127 or acts > 127 or run.round > 127 or run.held > 127 or run.held < 0 then
    return '\156' .. pack(state, ending, run.phase, run.kill, run.held, rev, seq, acts, run.round, run.started,
      run.finished, uses)
  end
  return '\156' .. char(160 + #state) .. state .. char(160 + #ending) .. ending
    .. char(run.phase, run.kill, run.held, rev, seq, acts, run.round) .. pack(run.started, run.finished)
    .. char(160 + #uses) .. uses
end

local function id_record(run)
  return '\149' .. pack(run.flow, run.fingerprint, run.date, run.timeout, run.handlers)
end

local function get_node(run, path)
  local node = run.nodes[path]
  if node == nil then
    local record = call('HGET', run.key, path)
    node = record and read_node(path, record)
    run.nodes[path] = node
  end
  return node
end

-- Reads at once nodes of a run that are to be looked at: a call for each would cost three times as much.
-- rare
local function read_nodes(run, paths)
  local missing, nodes = {}, run.nodes
  for _, path in ipairs(paths) do
    if nodes[path] == nil then missing[#missing + 1] = path end
  end
  if not missing[2] then return end
  local records = call('HMGET', run.key, unpack(missing))
  for index, path in ipairs(missing) do nodes[path] = records[index] and read_node(path, records[index]) end
end

local function new_node(run, path, expects)
  local node = {path, 1, 0, run.round, run.round, 0, '', 'W', '-', 0, 0, 0, false, false, false, 0, expects, '', ''}
  run.nodes[path] = node
  return node
end

-- A node's times as they are packed, where all take a byte, or two.
local function times(ready, started, finished)
  if ready and ready >= 0 and ready < 128 and (not started or started >= 0 and started < 128)
      and (not finished or finished >= 0 and finished < 128) then
    return char(ready, started or 194, finished or 194)
  end
  if ready and ready > 255 and ready < 65536 and (not started or started > 255 and started < 65536)
      and (not finished or finished > 255 and finished < 65536) then
    if finished and started then return bytes('>BHBHBH', 205, ready, 205, started, 205, finished) end
    if started then return bytes('>BHBHB', 205, ready, 205, started, 194) end
    if not finished then return bytes('>BHBB', 205, ready, 194, 194) end
  end
  return pack(ready, started, finished)
end

local function node_record(node)
  if node[WIDTH] then return '\220\0\23' .. pack(unpack(node, ATTEMPT, CLOSED)) end
  if node[ATTEMPT] ~= 1 or node[LOST] ~= 0 or node[ROUND] ~= 1 or node[LAST] ~= 1 or node[FLAGS] ~= '' or node[DUE] ~= 0 then
    return '\220\0\18' .. pack(unpack(node, ATTEMPT, INBOX))
  end
  local entry, digest, inbox, have, expects = node[ENTRY], node[DIGEST], node[INBOX], node[HAVE], node[EXPECTS]
  local act, worker, seq = node[ACT], node[WORKER], node[SEQ]
  if have > 127 or expects > 127 or #entry > 31 or #digest > 31 or #inbox > 31 then
    return '\156' .. pack(unpack(node, STATE, INBOX))
  end
  local numbers
  if act < 128 and worker < 128 and seq < 128 then
    numbers = char(act, worker, seq)
  elseif worker < 128 and seq > 255 and seq < 65536 and act < 65536 and (act > 255 or act == 0) then
    numbers = act == 0 and bytes('>BBBH', 0, worker, 205, seq) or bytes('>BHBBH', 205, act, worker, 205, seq)
  else
    numbers = pack(act, worker, seq)
  end
  return '\156\161' .. node[STATE] .. char(160 + #entry) .. entry .. numbers
    .. times(node[READY], node[STARTED], node[FINISHED]) .. char(have, expects, 160 + #digest) .. digest
    .. char(160 + #inbox) .. inbox
end

-- the run has a key with this suffix, which must go when it does
-- rare
local function use(run, letter)
  if not string.find(run.uses, letter, 1, true) then run.uses = run.uses .. letter end
end

local function change(run, node)
  touch(run)
  local changed = run.changed
  if not changed then run.changed = {node} return end
  if changed[#changed] ~= node then changed[#changed + 1] = node end
end

local function has_flag(node, letter) return node[FLAGS] ~= '' and string.find(node[FLAGS], letter, 1, true) ~= nil end

-- rare
local function set_flag(node, letter)
  if not has_flag(node, letter) then
    node[FLAGS] = node[FLAGS] .. letter
  end
end

-- rare
local function clear_flag(node, letter)
  if node[FLAGS] ~= '' then node[FLAGS] = (string.gsub(node[FLAGS], letter, '')) end
end

-- What is known of the data hash: results, inputs, failures, context values. (A table made with its first entry
-- in it costs half of one that grows to it.)
local function get_data(run, field)
  local data, value = run.data, nil
  if data then
    value = data[field]
    if value ~= nil then return value end
  end
  value = call('HGET', run.key .. ':d', field)
  if data then data[field] = value else run.data = {[field] = value} end
  return value
end

local function set_data(run, field, value)
  touch(run)
  local data, sets = run.data, run.sets
  if data then data[field] = value else run.data = {[field] = value} end
  if not sets then run.sets = {field, value} return end
  local place = #sets
  sets[place + 1], sets[place + 2] = field, value
end

-- value is appended to one of the run's lists ('a' attempts, 'l' logs, 'c' context) when the script saves
-- rare
local function push(run, list, value)
  touch(run)
  use(run, list)
  run.pushes = run.pushes or {}
  run.pushes[list] = run.pushes[list] or {}
  table.insert(run.pushes[list], value)
end

-- added to the partition's figures when the script saves
local counts = {}

local SOME = 100   -- branches whose scopes are looked at in one call

-- What is to be done with the waiting scopes of a run with more branches than that is done by DUE, some of them at a time,
-- from the first one on: they live as long as the run, and start where it goes on. How far it has come is in `:walks`.
-- A place means something to one server: another one, or the same started anew, has another order, and begins at the first.
-- rare
local function begin_walk(run)
  call('HDEL', P .. ':walks', run.id)
  call('ZADD', P .. ':due', NOW, 'x:' .. run.id .. ':')
end

-- The next step of such a walk, or of one with another sign: branches, and whether these were the last.
-- rare
local function walk_on(id, sign, count)
  local walks, server = P .. ':walks', string.match(call('INFO', 'server'), 'run_id:(%w+)') or ''
  local place, there = string.match(call('HGET', walks, id) or '', '^' .. sign .. '(%d+) (%w*)$')
  local step = call('SSCAN', P .. ':r:' .. id .. ':x', there == server and place or '0', 'COUNT', count)
  if step[1] == '0' then
    call('HDEL', walks, id)
    return step[2], true
  end
  call('HSET', walks, id, sign .. step[1] .. ' ' .. server)
  return step[2], false
end

-- Of what a run has beyond its two hashes: what is kept as long as it is, and what is gone with its end.
-- rare
local function expire_rest(run, life)
  for letter in string.gmatch(run.uses, '[alcm]') do call('PEXPIRE', run.key .. ':' .. letter, life) end
  if string.find(run.uses, 'k', 1, true) then call('UNLINK', run.key .. ':k') end
  if string.find(run.uses, 'x', 1, true) then
    -- the list of them, `:x`, gets its own with the last: nothing else knows of what is left, however late somebody
    -- goes on
    if call('SCARD', run.key .. ':x') > SOME then
      begin_walk(run)
    else
      call('PEXPIRE', run.key .. ':x', life)
      for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do
        call('PEXPIRE', run.key .. ':s:' .. path, life)
      end
    end
  end
end

-- Writes of a data hash in their order; false deletes.
local function save_data(run)
  local sets, key, gone = run.sets, run.key .. ':d', nil
  if #sets == 2 and sets[2] then return call('HSET', key, sets[1], sets[2]) end
  local kept = 0
  for place = 1, #sets, 2 do
    local field, value = sets[place], sets[place + 1]
    if run.data[field] ~= value then
      value = nil   -- a later write of the same field counts
    elseif value then
      sets[kept + 1], sets[kept + 2], kept = field, value, kept + 2
    else
      gone = gone or {}
      gone[#gone + 1] = field
    end
  end
  for place = #sets, kept + 1, -1 do sets[place] = nil end
  call_many('HSET', key, sets, 1000)
  if gone then call_many('HDEL', key, gone, 1000) end
end

-- Ends of runs, for the servers that wait for them: how many bytes of results are told with those of one script.
local TOLD = 4096
local NEWS = '30000'   -- ms that the news of an end outlive it, see NEWS_LIFE
local ends, room

-- A run that has ended is told, where somebody listens: with its result, where that is at hand and small.
local function tell(id, record, identity, result)
  if ends == nil then ends, room = call('EXISTS', P .. ':ends') == 1 and {}, TOLD end
  if not ends then return end
  local place = #ends
  ends[place + 1], ends[place + 2] = 'r', id
  if not result or not identity or #result > room then return end
  ends[place + 3], ends[place + 4] = 's', record
  ends[place + 5], ends[place + 6] = 'i', identity
  ends[place + 7], ends[place + 8] = 'o', result
  room = room - #result
end

-- Runs whose state has changed get another place in the list of their flow, those of a call together.
local moves = {}
local function move(flow, id, state, date)
  local places = moves[flow]
  if not places then
    places = {}
    moves[flow] = places
  end
  local place = #places
  -- Redis would print a number with %.17g: slow
  places[place + 1], places[place + 2] = string.format('%d', score_of(state, date)), id
end

-- Wakes whoever watches a run. A small result that it has ended with comes along, so that it need not be asked for.
local function wake(key, result)
  if result and #result <= TOLD then
    return call('XADD', key .. ':ev', 'NOMKSTREAM', 'MAXLEN', '~', '4', '*', 'v', '1', 'o', result)
  end
  return call('XADD', key .. ':ev', 'NOMKSTREAM', 'MAXLEN', '~', '4', '*', 'v', '1')
end

-- The same for the end of a run that may be all that somebody waits for (`watched`: its `:w`). That one hears of it now: such
-- a stream takes more than 4 KB, whatever is in it, and is not kept for the half hour that another look might need it.
local function wake_at_end(key, watched, result)
  wake(key, result)
  if string.find(watched, '.', 1, true) then call('PEXPIRE', key .. ':ev', NEWS) end
end

local function save()
  for index = 1, #touched do
    local run = touched[index]
    local key, state, changed = run.key, run.state, run.changed
    if state ~= run.listed then
      move(run.flow, run.id, state, run.date)
    end
    run.rev = run.rev + 1
    local result
    local first, second, record = changed and changed[1], changed and changed[2], run_record(run)
    if first and not second and run.nodes[first[PATH]] == first then   -- as most: without a table
      call('HSET', key, ':s', record, first[PATH], node_record(first))
    elseif second and not changed[3] and run.nodes[first[PATH]] == first and run.nodes[second[PATH]] == second then
      call('HSET', key, ':s', record, first[PATH], node_record(first), second[PATH], node_record(second))
    else   -- here, and not in a function that would be made for it: a node that sends to two others comes to this
      local values, place, saved = {':s', record}, 2, {}
      for _, node in ipairs(changed or {}) do
        if not saved[node] and run.nodes[node[PATH]] == node then   -- a branch has changed with each of its scopes
          values[place + 1], values[place + 2] = node[PATH], node_record(node)
          saved[node], place = true, place + 2
        end
      end
      call_many('HSET', key, values, 1000)
    end
    if run.sets then save_data(run) end
    if run.pushes then
      for list, pushed in pairs(run.pushes) do call_many('RPUSH', key .. ':' .. list, pushed, 1000) end
    end
    if run.ended then
      local life = state == 'failed' and DEAD or RETENTION
      call('PEXPIRE', key, life)
      call('PEXPIRE', key .. ':d', life)
      if run.uses ~= '' then expire_rest(run, life) end
      local path = state == 'succeeded' and run.data and run.data.e
      result = path and run.data['o:' .. path]
      tell(run.id, record, run.identity, result)
    end
    -- half a ms in `:w`: its end alone is to be told
    if run.watched and run.ended then
      wake_at_end(key, run.watched, result)
    elseif run.watched and not string.find(run.watched, '.', 1, true) then
      wake(key)
    end
  end
  if ends then call('XADD', P .. ':ends', 'NOMKSTREAM', 'MAXLEN', '~', '1000', '*', unpack(ends)) end
  for flow, places in pairs(moves) do call_many('ZADD', P .. ':runs:' .. flow, places, 1000) end
  for figure, number in pairs(counts) do call('HINCRBY', P .. ':figures', figure, number == 1 and '1' or number) end
end
