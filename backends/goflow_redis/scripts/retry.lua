-- RETRY: open a new round of a run that has ended.
-- uses: records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, nonce of this call, revision the caller read, new fingerprint ('' the old one);
--          number of paths to forget, paths; number of data fields to forget, fields;
--          number of lists to drop, branch paths; number of attempts to keep, attempts;
--          number of nodes that start the round afresh, paths; number to go on with, paths;
--          number of closing inboxes, (path, number of (field, text), fields and texts, have)...;
--          number of inboxes, (path, inbox, have)...;
--          number of arrivals, (target, closing, expects, hash, source, ref, has payload, payload)...
-- returns  'gone' | 'live' | 'changed' | 'ok', then the records :s and :i
-- repeat   the nonce says that this round is open
local id, nonce, revision, fingerprint = arg(), arg(), number(), arg()
local run = get_run(id)
if not run then return {'gone'} end
if call('HGET', run.key, ':x') == nonce then return {'ok', run_line(run), id_line(run)} end
if not run.terminal then return {'live', run_line(run), id_line(run)} end
if run.rev ~= revision then return {'changed'} end

local function list()
  local items = {}
  for index = 1, number() do items[index] = arg() end
  return items
end
local paths, fields, lists, attempts = list(), list(), list(), list()
local fresh, further = list(), list()

call_many('HDEL', run.key, paths, 1000)
call_many('HDEL', run.key .. ':d', fields, 1000)
for _, path in ipairs(lists) do
  call('UNLINK', run.key .. ':s:' .. path)
  call('SREM', run.key .. ':x', path)
end
for _, attempt in ipairs(attempts) do push(run, 'a', run.round .. ' ' .. attempt) end
for _, path in ipairs(HANDLERS) do run.nodes[path] = nil end

run.state, run.ending, run.phase, run.kill, run.held = 'queued', '-', 0, 0, 0
run.round, run.started, run.finished, run.terminal = run.round + 1, 0, 0, false
touch(run)
if fingerprint ~= '' then
  run.fingerprint = fingerprint
  run.class = run.flow .. ':' .. fingerprint
end
call('HSET', run.key, ':x', nonce, ':i', id_line(run))
if call('SADD', P .. ':classes', run.class) == 1 then
  call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'class', run.class)
end
if call('EXISTS', queue_key(run.class)) == 0 then
  call('XGROUP', 'CREATE', queue_key(run.class), 'g', '0', 'MKSTREAM')
end
for _, suffix in ipairs({'', ':d', ':a', ':l', ':x'}) do call('PERSIST', run.key .. suffix) end
for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do
  call('PERSIST', run.key .. ':s:' .. path)
  call('ZADD', pump_key(run.class), NOW, id .. ':' .. path)
end

local function start(path, anew)
  local node = get_node(run, path) or new_node(run, path, 0)
  clear_flag(node, 'h')
  clear_flag(node, 'e')
  node.attempt, node.lost, node.started, node.finished, node.digest = 1, 0, '-', '-', '-'
  if anew then
    clear_flag(node, 'c')
    clear_flag(node, 'k')
    node.round, node.width, node.seq = run.round, nil, 0
  end
  make_ready(run, node)
end

for _ = 1, number() do   -- open branches that wait for some of their scopes again
  local node = get_node(run, arg())
  for _ = 1, number() do
    local field, text = arg(), arg()
    set_data(run, field, text ~= '' and text)
  end
  local have = number()
  if node then
    node.state, node.have, node.attempt, node.lost, node.entry = 'O', have, 1, 0, '-'
    clear_flag(node, 'c')
    clear_flag(node, 'h')
    clear_flag(node, 'e')
    change(run, node)
  end
end
for _ = 1, number() do   -- nodes that wait for some of their arrivals again
  local node, inbox, have = get_node(run, arg()), arg(), number()
  if node then
    node.inbox, node.have, node.state = inbox, have, 'W'
    change(run, node)
  end
end
for _, path in ipairs(fresh) do start(path, true) end
for _, path in ipairs(further) do start(path, false) end
for _ = 1, number() do
  local target, closing, expects, hash, source, ref = arg(), arg() == '1', number(), number(), arg(), arg()
  local has, payload = arg() == '1', arg()
  deliver(run, target, closing, expects, hash, source, ref, has and payload or nil)
end
save_queue()
save()
return {'ok', run_line(run), id_line(run)}
