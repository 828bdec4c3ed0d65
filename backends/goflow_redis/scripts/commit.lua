-- COMMIT: record outcomes of held tasks, then claim: the hot path, one call for a whole batch.
-- uses: vain basics records ready ending take
--
-- KEYS     the partition's prefix
-- ARGV     retention; worker, name of this call (four letters and a number), whether it is a repeat (1), limit, number of classes,
--          classes; number of outcomes, and for each:
--          a packed head: run, path, hold, kind, number of words after it, started, finished (ms), digest,
--            has log, has attempt, has access, then
--            ok      has output, ends, {key that is written ...}, {whether it sets ...} (false for empty lists), number of
--                    arrivals
--            open    expects, window, has keys, scopes staged (-1 unknown), number of items, {key ...}, {sets ...}
--            retry   delay (ms)
--          and the words after it, those it has, in this order: log, attempt, access, output or keys, value of each write
--          that sets, of each arrival a packed {target, closing, expects, hash, source, ref, has payload} and its
--          payload, items, failure
-- returns  {accepted (0|1) ...}, {task ...}, {the last id of each class, where nothing is left to claim in them}
-- repeat   an outcome already recorded under its hold is accepted and changes nothing; a repeated call gets
--          the tasks it was given the first time
local worker, name, again, limit = number(), arg(), number(), number()
local letters = string.sub(name, 1, 4)   -- what it takes is held under these; the name is no other call's
local classes = {}
for index = 1, number() do classes[index] = arg() end

-- places in a packed head
local RUN, AT, HELD, KIND, WORDS, BEGAN, ENDED, CODE = 1, 2, 3, 4, 5, 6, 7, 8
local HAS_LOG, HAS_ATTEMPT, HAS_ACCESS = 9, 10, 11
local HAS_OUTPUT, ENDS, WRITES, SETS, ARRIVALS = 12, 13, 14, 15, 16
local CLOSES, ROOM, HAS_KEYS, STAGED, ITEMS, OPEN_WRITES, OPEN_SETS = 12, 13, 14, 15, 16, 17, 18
local DELAY = 12
-- bytes of overwritten values that a run keeps of each context key
local HISTORY = 16777216

local settled = {}

-- numbers of the versions that the outcome at hand made
local made

-- Every value is a version of its key. One that is written over stays, so that what an attempt read can be shown
-- again; of each key the oldest go first.
local function write(run, keys, sets)
  made = {}
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
end

local function drop_staged(run, head) call('UNLINK', run.key .. ':t:' .. head[HELD]) end

local function forget_failure(node)
  clear_flag(node, 'e')
  clear_flag(node, 'h')
end

local function record_failure(run, node)
  node[STATE] = 'F'
  local failure = arg()
  set_data(run, 'f:' .. node[PATH], failure)
  set_flag(node, 'e')
  return failure
end

-- each takes its words and records its outcome; false where it is refused after all
local commit = {}

function commit.ok(run, node, head)
  node[STATE] = 'D'
  forget_failure(node)
  if head[HAS_OUTPUT] then set_data(run, 'o:' .. node[PATH], arg()) end
  if head[WRITES] then write(run, head[WRITES], head[SETS]) end
  if head[ENDS] then
    set_data(run, 'e', node[PATH])
    set_ending(run, 'succeeded')
  end
  for _ = 1, head[ARRIVALS] do
    local target, closing, expects, hash, source, ref, has = elements(arg(), 1)
    deliver(run, target, closing, expects, hash, source, ref, has and arg())
  end
end

function commit.open(run, node, head)
  local staging, pending = run.key .. ':t:' .. head[HELD], scope_key(run, node)
  local staged = call('LLEN', staging)
  if head[STAGED] >= 0 and staged ~= head[STAGED] then   -- they expired: the branch has to open afresh
    drop_staged(run, head)
    run.held = run.held + 1
    requeue(run, node)
    return false
  end
  forget_failure(node)
  node[STATE], node[CLOSINGS], node[CLOSED] = 'O', head[CLOSES], 0
  node[WIDTH], node[RELEASED], node[WINDOW] = staged + head[ITEMS], 0, head[ROOM]
  if head[HAS_KEYS] then
    set_data(run, 'k:' .. node[PATH], arg())
    set_flag(node, 'k')
  end
  if head[OPEN_WRITES] then write(run, head[OPEN_WRITES], head[OPEN_SETS]) end
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
end

function commit.retry(run, node, head)
  record_failure(run, node)
  if gives_up(run, node) then return end
  clear_flag(node, 'h')
  node[ATTEMPT], node[LOST] = node[ATTEMPT] + 1, 0
  node[STATE], node[DUE] = 'T', NOW + head[DELAY]
  call('ZADD', P .. ':due', node[DUE], 'n:' .. run.id .. ':' .. node[PATH])
end

function commit.rescue(run, node)
  record_failure(run, node)
  if gives_up(run, node) then return end
  set_flag(node, 'h')
  node[LOST] = 0
  make_ready(run, node)
end

function commit.fail(run, node)
  local failure = record_failure(run, node)
  if not is_handler(node) then set_ending(run, 'failed', failure) end
end

function commit.stop(run, node) node[STATE] = 'C' end

function commit.release(run, node)
  run.held = run.held + 1
  requeue(run, node)
end

local function record(run, node, head)
  local kind = head[KIND]
  acknowledge(run.class, entry_of(head[HELD]))
  run.held = run.held - 1
  node[FINISHED], node[DIGEST] = head[ENDED] - run.created, head[CODE]
  if kind ~= 'release' then
    run.acts = run.acts + 1
    node[ACT] = run.acts
    if not (has_flag(node, 'c') and node[STARTED]) then node[STARTED] = head[BEGAN] - run.created end
  end
  change(run, node)
  settled[run] = true
  local log, attempt, access = head[HAS_LOG] and arg(), head[HAS_ATTEMPT] and arg(), head[HAS_ACCESS] and arg()
  made = false
  if commit[kind](run, node, head) == false then return 0 end
  if access then
    push(run, 'c', run.round .. ' ' .. NOW .. ' ' .. table.concat(made or {}, ',') .. ' ' .. access)
  end
  if kind ~= 'ok' and kind ~= 'open' then drop_staged(run, head) end
  if attempt and node[STATE] ~= 'F' then push(run, 'a', run.round .. ' ' .. node[ACT] .. ' ' .. attempt) end
  if log then push(run, 'l', run.round .. ' ' .. log) end
  return 1
end

local function accept_outcome()
  local packed = arg()
  local head = {elements(packed, string.byte(packed) == 220 and 3 or 1)}   -- the longest have more than 15
  local following = cursor + head[WORDS]
  local run = get_run(head[RUN], head[AT])
  local node = run and get_node(run, head[AT])
  local answer = 0
  if node and node[ENTRY] == head[HELD] then
    if node[STATE] == 'R' then
      answer = record(run, node, head)
    elseif node[STATE] ~= 'Q' and node[STATE] ~= 'K' then
      answer = 1   -- the same once more
    end
  end
  cursor = following
  return answer
end

local accepted = {}
for index = 1, number() do accepted[index] = accept_outcome() end
for run in pairs(settled) do settle(run) end
save_queue()

local memory = P .. ':w:' .. worker .. string.sub(letters, 1, 2)   -- two may have one number after a failover
local tasks, held
if again == 1 and limit > 0 then
  local words = {}
  for word in string.gmatch((call('GET', memory) or '') .. '\0', '(%Z*)%z') do words[#words + 1] = word end
  if words[1] == name then
    tasks = {}
    for index = 2, #words - 2, 3 do
      local run = get_run(words[index], words[index + 1])
      local node = run and get_node(run, words[index + 1])
      if node and node[STATE] == 'R' and node[ENTRY] == words[index + 2] then
        tasks[#tasks + 1] = describe(run, node)
      end
    end
  end
end
local hungry = false
if not tasks then
  tasks, held, hungry = take(worker, letters, limit, classes)
  if #held > 0 then
    call('SET', memory, name .. '\0' .. table.concat(held, '\0'), 'PX', HOUR)
  end
end
save()

local lasts = {}
if hungry then
  for index, class in ipairs(classes) do
    local last = call('XREVRANGE', queue_key(class), '+', '-', 'COUNT', 1)[1]
    lasts[index] = last and last[1] or '0-0'
  end
end
return {accepted, tasks, lasts}
