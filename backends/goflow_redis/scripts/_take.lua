-- Take: hand ready tasks to a worker.
local TAKE_BYTES = 1000000   -- of inputs in one answer, beyond the first task's
local LOOKS = 16    -- entries that one call looks at, beyond those it may hand out
-- looks at members of the pump in one call that bring nothing; what brings something is as much work as these and one for
-- each node that it makes ready
local PUMPED, PUMP = 128, 7

-- What a reference in an inbox means: `=` is the result of the source itself, in the node's scope.
local function expand(node, source, ref)
  if ref ~= '=' then return ref end
  return 'o:' .. (string.match(node[PATH], '^.*/') or '') .. source
end

-- Sources and values of a task's inputs, false where they are read piece by piece; and their bytes. (Not rare, as each
-- join comes to it.)
local function read_inputs(run, node)
  local inbox, expects = node[INBOX], node[EXPECTS]
  if has_flag(node, 'c') then
    expects = node[CLOSINGS]
    inbox = expects <= INLINE and get_data(run, 'c:0:' .. node[PATH]) or ''
  end
  if expects > INLINE then return false, false, 0 end
  local sources, values, size, known, missing, places = {}, {}, 0, run.data or {}, {}, {}
  for source, ref in string.gmatch(inbox, '%z([^%z\1]*)\1(%Z*)') do
    local place, field = #sources + 1, expand(node, source, ref)
    sources[place], values[place] = source, known[field] or ''
    if known[field] == nil and field ~= '' then missing[#missing + 1], places[#places + 1] = field, place end
  end
  if missing[1] then
    local fetched = call('HMGET', run.key .. ':d', unpack(missing))
    for index, place in ipairs(places) do values[place] = fetched[index] or '' end
  end
  for _, value in ipairs(values) do size = size + #value end
  return sources, values, size
end

-- Tells a held task as the worker hears of it, at the end of `told`: a packed head, the run's head, then what is packed
-- or not ours (see exchange.py for the reader): its failure and its keys, where the head says that there are some (FAILED,
-- KEYED), and its inputs. No table for each: that would be made, and be made an answer of. Its bytes of inputs.
local WHOLE, FAILED, KEYED = 1, 2, 4
local function describe(run, node, told)
  local path, inbox, place = node[PATH], node[INBOX], #told
  local handler, closing = is_handler(node), has_flag(node, 'c')
  local ending, width = handler and run.ending ~= '-' and run.ending or '', node[WIDTH] or 0
  if node[EXPECTS] == 1 and node[FLAGS] == '' then   -- one input, as most have it
    local source, ref = string.match(inbox, '^%z([^%z\1]*)\1(%Z*)$')
    local attempt, lost, round = node[ATTEMPT], node[LOST], node[ROUND]
    if source and attempt < 128 and lost < 128 and round < 128 and #source < 32 then   -- see `run_record`
      local value = ref ~= '' and get_data(run, expand(node, source, ref)) or ''
      told[place + 1] = '\157' .. pack(run.id, run.flow, run.fingerprint, path, node[ENTRY])
        .. char(attempt, lost, round, 194, 0, 160 + #ending) .. ending .. char(WHOLE, 160 + #source) .. source
      told[place + 2], told[place + 3] = run.head, value
      return #value
    end
  end
  local failure = path == '~on_failure' and get_data(run, 'f:') or has_flag(node, 'h') and get_data(run, 'f:' .. path)
  local keys = closing and has_flag(node, 'k') and get_data(run, 'k:' .. path)
  local sources, values, size = read_inputs(run, node)
  local holds = (sources and WHOLE or 0) + (failure and FAILED or 0) + (keys and KEYED or 0)
  told[place + 1] = pack({run.id, run.flow, run.fingerprint, path, node[ENTRY], node[ATTEMPT], node[LOST], node[ROUND],
    closing, width, ending, holds, unpack(sources or {})})
  told[place + 2] = run.head
  if failure then told[#told + 1] = failure end
  if keys then told[#told + 1] = keys end
  for _, value in ipairs(values or {}) do told[#told + 1] = value end
  return size
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
        more = release(run, node, count) > 0 and room(node) > 0   -- nothing starts where the store has lost its scopes
      end
    end
  end
  if more then call('ZADD', pump_key(class), NOW, member) else call('ZREM', pump_key(class), member) end
  if ready[1] then work = math.max(work, PUMP + #ready / 2) end
  save_queue()
  return work
end

-- Up to `limit` tasks of `classes`, tried one by one from the first: COUNT is per stream. `early` are entries that
-- the one at `first` gave already, those before it none. What is told of them; the entries that are held now, behind the
-- class of each; whether nothing is left.
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
  local told, held, given, size, looked, pumped, full, by = {}, {}, 0, 0, 0, 0, limit <= 0, pack(worker)
  for place = first, #classes do
    local class, of = classes[place], nil
    while not full do
      local want = size == 0 and limit - given or math.min(limit - given, 8)
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
        local bytes = raw and begin_lone(raw, id, path, entry, hold, by, told)
        local run = not bytes and get_run(id, path, raw)
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
          bytes = describe(run, node, told)
        end
        if bytes then
          given, size = given + 1, size + bytes
          if of ~= class then   -- which no entry looks like
            of = class
            held[#held + 1] = class
          end
          held[#held + 1] = entry
        else
          refuse(class, entry, run, node)
        end
      end
      full = given >= limit or size >= TAKE_BYTES or looked >= limit + LOOKS
      if #entries < want then
        local waiting = call('ZRANGE', pump_key(class), '0', '0')[1]
        if not waiting then break end
        pumped = pumped + pump(class, waiting, math.min(limit - given, 64))
        full = full or pumped >= PUMPED
      end
    end
  end
  save_queue()
  return told, held, not full
end
