-- COMMIT: record outcomes of held tasks, then claim: the hot path, one call for a whole batch.
-- uses: vain basics records ready ending lone take
--
-- KEYS     the partition's prefix
-- ARGV     retention; worker, name of this call (four letters and a number), whether it is a repeat (1), limit, number of classes,
--          classes; number of outcomes, and for each:
--          a packed head: run, path, hold, kind, number of words after it, started, finished (ms), digest,
--            has log, has attempt, has access, then
--            ok      has output, ends, {key that is written ...}, {whether it sets ...} (false for empty lists), number of
--                    arrivals, where further ones are staged in how many pieces
--            open    expects, window, has keys, scopes staged (-1 unknown), number of items, {key ...}, {sets ...}
--            retry   delay (ms)
--          and the words after it, those it has, in this order: log, attempt, access, output or keys, value of each write
--          that sets, of each arrival a packed {target, closing, expects, hash, source, ref, has payload} and its
--          payload, items, failure
-- returns  for each outcome a letter, '1' accepted, '0' not (a table would cost as much as a command of a lone one);
--          {what is told of each task, one after the other ...}; where nothing is left to claim in the classes, {when each rang last}
-- repeat   an outcome already recorded under its hold is accepted and changes nothing; a repeated call gets
--          the tasks it was given the first time
local who, name, again, limit = arg(), arg(), number(), number()
local letters = string.sub(name, 1, 4)   -- what it takes is held under these; the name is no other call's
local classes = {}
for index = 1, number() do classes[index] = arg() end

-- places in a packed head
local RUN, AT, HELD, KIND, WORDS, BEGAN, ENDED, CODE = 1, 2, 3, 4, 5, 6, 7, 8
local HAS_LOG, HAS_ATTEMPT, HAS_ACCESS = 9, 10, 11
local HAS_OUTPUT, ENDS, WRITES, SETS, ARRIVALS = 12, 13, 14, 15, 16
local MAILED = 17
local CLOSES, ROOM, HAS_KEYS, STAGED, ITEMS, OPEN_WRITES, OPEN_SETS = 12, 13, 14, 15, 16, 17, 18
local DELAY = 12
-- bytes of overwritten values that a run keeps of each context key
local HISTORY = 16777216

local settled = {}

-- Every value is a version of its key. One that is written over stays, so that what an attempt read can be shown
-- again; of each key the oldest go first. Answers the numbers of the new versions.
-- rare
local function write(run, keys, sets)
  local made = {}
  for index, key in ipairs(keys) do
    local last, first, kept = string.match(get_data(run, 'u:' .. key) or '0:0:0', '^(%d+):(%d+):(%d+)$')
    last, first, kept = tonumber(last), tonumber(first), tonumber(kept)
    local old = get_data(run, 'v:' .. key) or ''
    if last > 0 or old ~= '' then set_data(run, 'w:' .. last .. ':' .. key, old) end
    kept = kept + #old
    while kept > HISTORY do
      local field = 'w:' .. first .. ':' .. key
      kept = kept - #(get_data(run, field) or '')
      set_data(run, field, false)
      first = first + 1
    end
    made[index] = last + 1
    set_data(run, 'u:' .. key, (last + 1) .. ':' .. first .. ':' .. kept)
    set_data(run, 'v:' .. key, sets[index] and arg())
  end
  return made
end

-- rare
local function drop_staged(run, head)
  call('UNLINK', run.key .. ':t:' .. head[HELD])
end

-- rare
local function forget_failure(node)
  clear_flag(node, 'e')
  clear_flag(node, 'h')
end

-- rare
local function record_failure(run, node)
  node[STATE] = 'F'
  local failure = arg()
  set_data(run, 'f:' .. node[PATH], failure)
  set_flag(node, 'e')
  return failure
end

-- A branch opens. Second: false where it is refused after all.
-- rare
local function open(run, node, head)
  local staging, pending, made = run.key .. ':t:' .. head[HELD], scope_key(run, node), nil
  local staged = call('LLEN', staging)
  if head[STAGED] >= 0 and staged ~= head[STAGED] then   -- they expired: the branch has to open afresh
    drop_staged(run, head)
    run.held = run.held + 1
    requeue(run, node)
    return nil, false
  end
  forget_failure(node)
  node[STATE], node[CLOSINGS], node[CLOSED] = 'O', head[CLOSES], 0
  node[WIDTH], node[RELEASED], node[WINDOW] = staged + head[ITEMS], 0, head[ROOM]
  if head[HAS_KEYS] then
    set_data(run, 'k:' .. node[PATH], arg())
    set_flag(node, 'k')
  end
  if head[OPEN_WRITES] then made = write(run, head[OPEN_WRITES], head[OPEN_SETS]) end
  local items = {}
  for index = 1, head[ITEMS] do items[index] = arg() end
  call_many('RPUSH', staging, items, 1000)
  if node[WIDTH] > 0 then
    call('RENAME', staging, pending)
    call('PERSIST', pending)
    call('SADD', run.key .. ':x', node[PATH])
    use(run, 'x')
    if run.ending == '-' then release(run, node, 64) end
    if room(node) > 0 then call('ZADD', pump_key(run.class), NOW, run.id .. ':' .. node[PATH]) end
  end
  if head[CLOSES] == 0 then
    set_flag(node, 'c')
    make_ready(run, node)
  end
  return made, true
end

-- What an outcome sends on beyond the first arrivals is delivered on demand. False where what was staged has expired.
-- rare
local function post(run, node, head)
  local staging, mail = run.key .. ':t:' .. head[HELD], run.key .. ':m'
  if call('LLEN', staging) ~= head[MAILED] then   -- it has to be executed again
    drop_staged(run, head)
    run.held = run.held + 1
    requeue(run, node)
    return false
  end
  if call('EXISTS', mail) == 1 then
    call_many('RPUSH', mail, call('LRANGE', staging, 0, -1), 1000)
    call('UNLINK', staging)
  else
    call('RENAME', staging, mail)
    call('PERSIST', mail)
  end
  await_mail(run)
  return true
end

-- rare
local function retry(run, node, head)
  record_failure(run, node)
  if gives_up(run, node) then return end
  clear_flag(node, 'h')
  node[ATTEMPT], node[LOST] = node[ATTEMPT] + 1, 0
  node[STATE], node[DUE] = 'T', NOW + head[DELAY]
  call('ZADD', P .. ':due', node[DUE], 'n:' .. run.id .. ':' .. node[PATH])
end

-- What becomes of a node without a result. Its staged scopes go.
-- rare
local function end_attempt(run, node, head, kind)
  if kind == 'retry' then
    retry(run, node, head)
  elseif kind == 'rescue' then
    record_failure(run, node)
    if not gives_up(run, node) then
      set_flag(node, 'h')
      node[LOST] = 0
      make_ready(run, node)
    end
  elseif kind == 'fail' then
    local failure = record_failure(run, node)
    if not is_handler(node) then set_ending(run, 'failed', failure) end
  elseif kind == 'stop' then
    node[STATE] = 'C'
  else
    run.held = run.held + 1
    requeue(run, node)
  end
  drop_staged(run, head)
end

-- Takes the words of an outcome and records it; '0' where it is refused after all.
local function record(run, node, head)
  local kind = head[KIND]
  acknowledge(run.class, string.sub(head[HELD], 1, -5))   -- without the four letters
  run.held = run.held - 1
  node[FINISHED], node[DIGEST] = head[ENDED] - run.created, head[CODE]
  if kind ~= 'release' then
    run.acts = run.acts + 1
    node[ACT] = run.acts
    if not (has_flag(node, 'c') and node[STARTED]) then node[STARTED] = head[BEGAN] - run.created end
  end
  change(run, node)
  local log, attempt, access = head[HAS_LOG] and arg(), head[HAS_ATTEMPT] and arg(), head[HAS_ACCESS] and arg()
  local made, opened
  if kind == 'ok' then
    if head[MAILED] and not post(run, node, head) then return '0' end
    node[STATE] = 'D'
    if node[FLAGS] ~= '' then forget_failure(node) end
    if head[HAS_OUTPUT] then set_data(run, 'o:' .. node[PATH], arg()) end
    if head[WRITES] then made = write(run, head[WRITES], head[SETS]) end
    if head[ENDS] then
      set_data(run, 'e', node[PATH])
      set_ending(run, 'succeeded')
    end
    for _ = 1, head[ARRIVALS] do
      local target, closing, expects, hash, source, ref, has = elements(arg(), 1)
      deliver(run, target, closing, expects, hash, source, ref, has and arg())
    end
  elseif kind == 'open' then
    made, opened = open(run, node, head)
    if not opened then return '0' end
  else
    end_attempt(run, node, head, kind)
  end
  if access then
    push(run, 'c', run.round .. ' ' .. NOW .. ' ' .. table.concat(made or {}, ',') .. ' ' .. access)
  end
  if attempt and node[STATE] ~= 'F' then push(run, 'a', run.round .. ' ' .. node[ACT] .. ' ' .. attempt) end
  if log then push(run, 'l', run.round .. ' ' .. log) end
  return '1'
end

-- The tasks that this call was given the first time, as far as they are held; nil where it was not answered.
-- rare
local function repeat_claim(memory)
  local known, class, tasks = call('GET', memory) or '', nil, {}
  if string.match(known, '^%Z*') ~= name then return end
  for word in string.gmatch(known, '%z(%Z*)') do
    if not string.find(word, '^%d+%-%d+$') then
      class = word
    else
      local queued = call('XRANGE', queue_key(class), word, word)[1]   -- there as long as it is held
      local path = queued and queued[2][4]
      local run = path and get_run(queued[2][2], path)
      local node = run and get_node(run, path)
      if node and node[STATE] == 'R' and node[ENTRY] == word .. letters then describe(run, node, tasks) end
    end
  end
  return tasks
end

local accepted, by = '', pack(tonumber(who))
for index = 1, number() do
  local packed = arg()
  local header = string.byte(packed) == 220 and 3 or 1   -- the longest have more than 15
  local head = {elements(packed, header)}
  local following = cursor + head[WORDS]
  local id, path = head[RUN], head[AT]
  local raw = runs[id] == nil and read_run(P .. ':r:' .. id, path)
  local alone = raw and head[KIND] == 'ok' and head[ENDS] and head[ARRIVALS] == 0
    and not (head[HAS_LOG] or head[HAS_ATTEMPT] or head[HAS_ACCESS] or head[WRITES])
    and end_lone(raw, id, path, head[HELD], by, head[BEGAN], head[ENDED], head[CODE], head[HAS_OUTPUT] and ARGV[cursor + 1])
  local run = not alone and get_run(id, path, raw)
  local node = run and get_node(run, path)
  local answer = alone and '1' or '0'
  if node and node[ENTRY] == head[HELD] then
    if node[STATE] == 'R' then
      answer = record(run, node, head)
      if run.ending ~= '-' then settled[run] = true end
    elseif node[STATE] ~= 'Q' and node[STATE] ~= 'K' then
      answer = '1'   -- the same once more
    end
  end
  cursor = following
  accepted = accepted .. answer
end
for run in pairs(settled) do settle(run) end
save_queue()

local memory = P .. ':w:' .. who .. string.sub(letters, 1, 2)   -- two may have one number after a failover
local tasks = again == 1 and limit > 0 and repeat_claim(memory)
local hungry = false
if not tasks then
  local held
  tasks, held, hungry = take(tonumber(who), letters, limit, classes, first, early)
  if held[1] then call('SET', memory, name .. '\0' .. table.concat(held, '\0'), 'PX', HOUR) end
end
ring()
save()

if not hungry then return {accepted, tasks} end
local lasts = {}
for index, class in ipairs(classes) do
  local last = call('XREVRANGE', bell_key(class), '+', '-', 'COUNT', '1')[1]
  lasts[index] = last and last[1] or '0-0'
end
return {accepted, tasks, lasts}
