-- Take: hand ready tasks to a worker.
local TAKE_BYTES = 1000000   -- of inputs in one answer, beyond the first task's

-- What is in the data hash under these fields, in order.
local function read_data(run, refs)
  local missing, values, known = {}, {}, run.data or {}
  for index, ref in ipairs(refs) do
    values[index] = known[ref]
    if values[index] == nil and ref ~= '' then missing[#missing + 1] = ref end
  end
  if #missing == 0 then return values end
  local fetched, place = call('HMGET', run.key .. ':d', unpack(missing)), 0
  for index, ref in ipairs(refs) do
    if values[index] == nil and ref ~= '' then
      place = place + 1
      values[index] = fetched[place]
    end
  end
  return values
end

-- What a reference in an inbox means: `=` is the result of the source itself, in the node's scope.
local function expand(node, source, ref)
  if ref ~= '=' then return ref end
  return 'o:' .. (string.match(node[PATH], '^.*/') or '') .. source
end

-- Source and value of the only input, as most have it; nil where there may be several.
local function lone_input(run, node)
  if node[EXPECTS] ~= 1 or has_flag(node, 'c') then return end
  local source, ref = string.match(node[INBOX], '^%z([^%z\1]*)\1(%Z*)$')
  if source then return source, ref ~= '' and get_data(run, expand(node, source, ref)) or '' end
end

-- Adds the inputs of a task to what is told of it. Whether they are all there, and their bytes.
local function read_inputs(run, node, told, head)
  local inbox, expects = node[INBOX], node[EXPECTS]
  if has_flag(node, 'c') then
    expects = node[CLOSINGS]
    inbox = expects <= INLINE and get_data(run, 'c:0:' .. node[PATH]) or ''
  end
  if expects > INLINE then return 0, 0 end
  local refs, size = {}, 0
  for source, ref in string.gmatch(inbox, '%z([^%z\1]*)\1(%Z*)') do
    head[#head + 1] = source
    refs[#refs + 1] = expand(node, source, ref)
  end
  local values = read_data(run, refs)
  for index = 1, #refs do
    local value = values[index] or ''
    told[#told + 1] = value
    size = size + #value
  end
  return 1, size
end

-- A held task as the worker hears of it: a packed head, then what is packed or not ours (see exchange.py for the
-- reader). Second: bytes of inputs.
local function describe(run, node)
  local handler, closing = is_handler(node), has_flag(node, 'c')
  local failure, keys = '', ''
  if node[PATH] == '~on_failure' then
    failure = get_data(run, 'f:') or ''
  elseif has_flag(node, 'h') then
    failure = get_data(run, 'f:' .. node[PATH]) or ''
  end
  if closing and has_flag(node, 'k') then keys = get_data(run, 'k:' .. node[PATH]) or '' end
  local source, value = lone_input(run, node)
  local told = {'', run.head, failure, keys, value}
  local head = {run.id, run.flow, run.fingerprint, node[PATH], node[ENTRY], node[ATTEMPT], node[LOST], node[ROUND],
    closing, node[WIDTH] or 0, handler and run.ending ~= '-' and run.ending or '', 1, source}
  local size
  if source then size = #value else head[12], size = read_inputs(run, node, told, head) end
  told[1] = pack(head)
  return told, size
end

-- What a node is held under is its stream entry, followed by the letters of the call that took it. An entry is
-- handed out once, but a failover that loses the claim has it handed out again, and one that loses the entry has its
-- id given anew: the letters, which nobody can guess, tell the holders apart. They are few, since every node keeps
-- them, and a record of more than 64 bytes costs its run's hash the compact form.
local function hold(run, node, worker, letters)
  node[STATE], node[WORKER], node[FINISHED] = 'R', worker, false
  node[ENTRY] = node[ENTRY] .. letters
  node[LAST] = run.round
  if not (has_flag(node, 'c') and node[STARTED]) then node[STARTED] = NOW - run.created end
  run.held = run.held + 1
  if run.state == 'queued' then run.state = 'running' end
  if run.started == 0 then
    run.started = NOW
    if TRACED then use(run, 't') end
    if run.timeout > 0 then call('ZADD', P .. ':due', NOW + run.timeout, 't:' .. run.id) end
  end
  change(run, node)
end

-- One delivered entry: held (true), or dropped because it is stale or its run is paused or ending.
local function accept(class, entry, fields, worker, letters)
  local run = get_run(fields[2], fields[4])
  local node = run and get_node(run, fields[4])
  if node and node[STATE] == 'Q' and node[ENTRY] == entry then
    local handler = is_handler(node)
    if run.state ~= 'paused' and (run.ending == '-' or handler) then
      hold(run, node, worker, letters)
      return run, node
    end
    node[STATE] = 'K'
    change(run, node)
    if run.state == 'paused' then
      call('RPUSH', run.key .. ':k', node[PATH])
      use(run, 'k')
    end
  end
  acknowledge(class, entry)
end

-- The consumer is called by its lease, so that whoever takes back what a vanished worker held knows how long
-- that one meant to be silent at most.
local function read_group(class, count)
  local command = {'XREADGROUP', 'GROUP', 'g', LEASE, 'COUNT', count, 'STREAMS', queue_key(class), '>'}
  local answer = redis.pcall(unpack(command))
  if answer and answer.err then
    if not string.find(answer.err, 'NOGROUP', 1, true) then return error(answer.err) end
    if call('EXISTS', queue_key(class)) == 0 then return {} end
    call('XGROUP', 'CREATE', queue_key(class), 'g', '0')
    call('SADD', P .. ':classes', class)   -- it was forgotten, and then something of it came due
    answer = call(unpack(command))
  end
  return answer and answer[1][2] or {}
end

-- Wakes scopes and parked nodes that wait for demand; whether there may be more to read now.
local function pump(class, count)
  local key = pump_key(class)
  local member = call('ZRANGE', key, 0, 0)[1]
  if not member then return false end
  local id, path = string.match(member, '^([^:]*):(.*)$')
  local run = get_run(id)
  local more = false
  if run and run.ending == '-' and run.state ~= 'paused' then
    if path == '' then
      more = unpark(run, count)
    else
      local node = get_node(run, path)
      if node and node[STATE] == 'O' then
        release(run, node, count)
        more = room(node) > 0
      end
    end
  end
  if more then call('ZADD', key, NOW, member) else call('ZREM', key, member) end
  save_queue()
  return true
end

-- Up to `limit` tasks of `classes`, tried one by one from the first: COUNT is per stream. Third: whether
-- nothing is left.
local function take(worker, letters, limit, classes)
  local told, held, size, looked = {}, {}, 0, 0
  local function full() return #told >= limit or size >= TAKE_BYTES or looked >= 4 * limit + 16 end
  for _, class in ipairs(classes) do
    while not full() do
      local want = size == 0 and limit - #told or math.min(limit - #told, 8)
      local entries = read_group(class, want)
      looked = looked + #entries
      for _, each in ipairs(entries) do
        local run, node = accept(class, each[1], each[2], worker, letters)
        if run then
          local task, bytes = describe(run, node)
          told[#told + 1] = task
          held[#held + 1] = run.id .. '\0' .. node[PATH] .. '\0' .. node[ENTRY]
          size = size + bytes
        end
      end
      if #entries < want and not pump(class, math.min(limit - #told, 64)) then break end
    end
  end
  save_queue()
  return told, held, not full()
end
