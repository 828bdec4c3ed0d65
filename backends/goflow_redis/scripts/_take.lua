-- Take: hand ready tasks to a worker.
local TAKE_BYTES = 1000000   -- of inputs in one answer, beyond the first task's
local LOOKS = 16    -- entries that one call looks at, beyond those it may hand out
-- looks at members of the pump in one call that bring nothing; what brings something is as much work as these and one for
-- each node that it makes ready
local PUMPED, PUMP = 128, 7

-- What is in the data hash under these fields, in order.
-- rare
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

-- Adds the inputs of a task to what is told of it. Whether they are all there, and their bytes.
-- rare
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
  local path, inbox = node[PATH], node[INBOX]
  local handler, closing = is_handler(node), has_flag(node, 'c')
  local failure, keys = '', ''
  if path == '~on_failure' then
    failure = get_data(run, 'f:') or ''
  elseif has_flag(node, 'h') then
    failure = get_data(run, 'f:' .. path) or ''
  end
  if closing and has_flag(node, 'k') then keys = get_data(run, 'k:' .. path) or '' end
  local ending, width = handler and run.ending ~= '-' and run.ending or '', node[WIDTH] or 0
  if node[EXPECTS] == 1 and not closing then   -- one input, as most have it
    local source, ref = string.match(inbox, '^%z([^%z\1]*)\1(%Z*)$')
    if source then
      local value = ref ~= '' and get_data(run, expand(node, source, ref)) or ''
      local attempt, lost, round = node[ATTEMPT], node[LOST], node[ROUND]
      if width == 0 and attempt < 128 and lost < 128 and round < 128 and #source < 32 then   -- see `run_record`
        return {'\157' .. pack(run.id, run.flow, run.fingerprint, path, node[ENTRY])
          .. char(attempt, lost, round, 194, 0, 160 + #ending) .. ending .. char(1, 160 + #source) .. source,
          run.head, failure, keys, value}, #value
      end
      return {'\157' .. pack(run.id, run.flow, run.fingerprint, path, node[ENTRY], node[ATTEMPT], node[LOST],
        node[ROUND], closing, width, ending, 1, source), run.head, failure, keys, value}, #value
    end
  end
  local told, size = {'', run.head, failure, keys}, nil
  local head = {run.id, run.flow, run.fingerprint, path, node[ENTRY], node[ATTEMPT], node[LOST], node[ROUND],
    closing, width, ending, 0}
  head[12], size = read_inputs(run, node, told, head)
  told[1] = pack(head)
  return told, size
end

-- An entry that is stale, or whose run is paused or ending, is dropped.
-- rare
local function refuse(class, entry, run, node)
  if node and node[STATE] == 'Q' and node[ENTRY] == entry then
    node[STATE] = 'K'
    change(run, node)
    if run.state == 'paused' then
      call('RPUSH', run.key .. ':k', node[PATH])
      use(run, 'k')
    end
  end
  acknowledge(class, entry)
end

-- A queue without its group: it was forgotten, and then something of it came due.
-- rare
local function open_again(class, error)
  if not string.find(error, 'NOGROUP', 1, true) then return true end   -- it will be told once more
  if call('EXISTS', queue_key(class)) == 0 then return false end
  call('XGROUP', 'CREATE', queue_key(class), 'g', '0')
  call('SADD', P .. ':classes', class)
  return true
end

-- What a run begins with when the first of its nodes is held.
-- rare
local function set_timeout(run)
  if TRACED then use(run, 't') end
  if run.timeout > 0 then call('ZADD', P .. ':due', NOW + run.timeout, 't:' .. run.id) end
end

-- Wakes scopes, parked nodes and arrivals that wait for demand, of a member of the pump. How much work that was, in looks
-- at a member that brings nothing.
-- rare
local function pump(class, member, count)
  local id, path = string.match(member, '^([^:]*):(.*)$')
  local run = get_run(id)
  local more, work = false, 1
  if run and run.ending == '-' and run.state ~= 'paused' then
    if path == '' then
      more = unpark(run, count)
    elseif path == '*' then
      more, work = open_mail(run), MAIL
    else
      local node = get_node(run, path)
      if node and node[STATE] == 'O' then
        release(run, node, count)
        more = room(node) > 0
      end
    end
  end
  if more then call('ZADD', pump_key(class), NOW, member) else call('ZREM', pump_key(class), member) end
  if ready[1] then work = math.max(work, PUMP + #ready) end
  save_queue()
  return work
end

-- Up to `limit` tasks of `classes`, tried one by one from the first: COUNT is per stream. `early` are entries that
-- the one at `first` gave already, those before it none. Third: whether nothing is left.
--
-- What a node is held under is its stream entry, followed by the letters of the call that took it. An entry is
-- handed out once, but a failover that loses the claim has it handed out again, and one that loses the entry has its
-- id given anew: the letters, which nobody can guess, tell the holders apart. They are few, since every node keeps
-- them, and a record of more than 64 bytes costs its run's hash the compact form.
--
-- What it looks at is bounded, whether that is any good or not: entries that are stale, and members of the pump.
--
-- The consumer is called by its lease, so that whoever takes back what a vanished worker held knows how long
-- that one meant to be silent at most.
local function take(worker, letters, limit, classes, first, early)
  local told, held, size, looked, pumped, full, by = {}, {}, 0, 0, 0, limit <= 0, pack(worker)
  for place = first, #classes do
    local class = classes[place]
    while not full do
      local want = size == 0 and limit - #told or math.min(limit - #told, 8)
      local entries = early
      if not entries then
        local answer = redis.pcall('XREADGROUP', 'GROUP', 'g', LEASE, 'COUNT', want, 'STREAMS', queue_key(class), '>')
        if answer and answer.err then
          answer = open_again(class, answer.err)
            and call('XREADGROUP', 'GROUP', 'g', LEASE, 'COUNT', want, 'STREAMS', queue_key(class), '>')
        end
        entries = answer and answer[1][2] or {}
      end
      early = nil
      looked = looked + #entries
      if entries[1] then taken[class] = entries[#entries][1] end
      for index = 1, #entries do
        local entry, id, path = entries[index][1], entries[index][2][2], entries[index][2][4]
        local hold = entry .. letters
        local raw = runs[id] == nil and read_run(P .. ':r:' .. id, path)
        local task, bytes
        if raw then task, bytes = begin_lone(raw, id, path, entry, hold, by) end
        local run = not task and get_run(id, path, raw)
        local node = run and get_node(run, path)
        if node and node[STATE] == 'Q' and node[ENTRY] == entry
            and run.state ~= 'paused' and (run.ending == '-' or is_handler(node)) then
          node[STATE], node[WORKER], node[FINISHED], node[ENTRY], node[LAST] = 'R', worker, false, hold, run.round
          if not (has_flag(node, 'c') and node[STARTED]) then node[STARTED] = NOW - run.created end
          run.held = run.held + 1
          if run.state == 'queued' then run.state = 'running' end
          if run.started == 0 then
            run.started = NOW
            if TRACED or run.timeout > 0 then set_timeout(run) end
          end
          change(run, node)
          task, bytes = describe(run, node)
        end
        if task then
          told[#told + 1] = task
          held[#held + 1] = id .. '\0' .. path .. '\0' .. hold
          size = size + bytes
        else
          refuse(class, entry, run, node)
        end
      end
      full = #told >= limit or size >= TAKE_BYTES or looked >= limit + LOOKS
      if #entries < want then
        local waiting = call('ZRANGE', pump_key(class), '0', '0')[1]
        if not waiting then break end
        pumped = pumped + pump(class, waiting, math.min(limit - #told, 64))
        full = full or pumped >= PUMPED
      end
    end
  end
  save_queue()
  return told, held, not full
end
