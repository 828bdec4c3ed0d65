-- RETRY: open a new round of a run that has ended. Of nodes that PREPARE has parked the first start with it.
-- uses: basics records ready ending
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, nonce of this call, revision the caller read, new fingerprint ('' the old one);
--          number of paths to forget, paths; number of data fields to forget, fields;
--          number of lists to drop, branch paths; number of attempts to keep, attempts;
--          number of nodes to go on with, paths; number that start the round, paths;
--          number of inboxes, (path, whether the node begins afresh, inbox, have)...;
--          number of open branches, (path, whether it opens again, closed)...;
--          number of chunks, (field, text)...;
--          number of arrivals, (target, closing, expects, hash, source, ref, has payload, payload)...
-- returns  'gone' | 'live' | 'changed' | 'wide' (KEEP has something to do before) | 'ok', then the records :s and :i
-- repeat   the nonce says that this round is open
local id, nonce, revision, fingerprint = arg(), arg(), number(), arg()
local run = get_run(id)
if not run or call('HEXISTS', run.key, ':f') == 1 then return {'gone'} end   -- or about to be forgotten
if call('HGET', run.key, ':x') == nonce then return {'ok', run_record(run), id_record(run)} end
if not run.terminal then return {'live', run_record(run), id_record(run)} end
if run.rev ~= revision then return {'changed'} end
local wide = call('SCARD', run.key .. ':x') > SOME
if wide and call('HGET', P .. ':walks', id) ~= 'K' then return {'wide'} end

local function list()
  local items = {}
  for index = 1, number() do items[index] = arg() end
  return items
end
local paths, fields, lists, attempts = list(), list(), list(), list()
local further, starts = list(), list()

paths[#paths + 1] = ':y'
call_many('HDEL', run.key, paths, 1000)
call_many('HDEL', run.key .. ':d', fields, 1000)
local scoped = {}
for index, path in ipairs(lists) do scoped[index] = run.key .. ':s:' .. path end
if scoped[1] then
  call_many('UNLINK', scoped[1], scoped, 1000)
  call_many('SREM', run.key .. ':x', lists, 1000)
end
for _, attempt in ipairs(attempts) do push(run, 'a', attempt) end
for _, path in ipairs(HANDLERS) do run.nodes[path] = nil end

run.state, run.ending, run.phase, run.kill, run.held = 'queued', '-', 0, 0, 0
run.round, run.started, run.finished, run.terminal = run.round + 1, 0, 0, false
touch(run)
call('HINCRBY', P .. ':figures', run.flow .. ' begun', 1)
if fingerprint ~= '' then
  run.fingerprint = fingerprint
  run.class = run.flow .. ':' .. fingerprint
end
call('HSET', run.key, ':x', nonce, ':i', id_record(run))
open_queue(run.flow, run.class)
for _, suffix in ipairs({'', ':d', ':a', ':l', ':c', ':k', ':x'}) do call('PERSIST', run.key .. suffix) end
if wide then
  begin_walk(run)
else
  local open = call('SMEMBERS', run.key .. ':x')
  for _, path in ipairs(open) do call('PERSIST', run.key .. ':s:' .. path) end
  demand_all(run, open)
end

for _, path in ipairs(further) do
  local node = get_node(run, path)
  begin_again(node)
  make_ready(run, node)
end
if unpark(run, 64) then call('ZADD', pump_key(run.class), NOW, id .. ':') end
for _ = 1, number() do
  local node, afresh, inbox, have = get_node(run, arg()), arg() == '1', arg(), number()
  node[INBOX], node[HAVE] = inbox, have
  if afresh then
    begin_again(node)
    node[STATE], node[FLAGS], node[WIDTH], node[RELEASED], node[WINDOW] = 'W', '', nil, nil, nil
    node[CLOSINGS], node[CLOSED], node[SEQ], node[ROUND], node[READY] = nil, nil, 0, run.round, false
  end
  change(run, node)
end
for _ = 1, number() do
  local node, reopened, closed = get_node(run, arg()), arg() == '1', number()
  node[CLOSED] = closed
  if reopened then
    begin_again(node)
    clear_flag(node, 'c')
    node[STATE] = 'O'
  end
  change(run, node)
end
local left = 64   -- scopes that open at once: else nobody would see that there is work; the others come on demand
for _, path in ipairs(call('SRANDMEMBER', run.key .. ':x', left)) do
  local node = left > 0 and get_node(run, path)
  if node and node[STATE] == 'O' then left = left - release(run, node, left) end
end
for _ = 1, number() do set_data(run, arg(), arg()) end
for _, path in ipairs(starts) do
  local node = get_node(run, path)
  if node[HAVE] >= node[EXPECTS] then make_ready(run, node) end
end
for _ = 1, number() do
  local target, closing, expects, hash, source, ref = arg(), arg() == '1', number(), number(), arg(), arg()
  local has, payload = arg() == '1', arg()
  deliver(run, target, closing, expects, hash, source, ref, has and payload or nil)
end
if get_data(run, 'e') then
  set_ending(run, 'succeeded')
  settle(run)
end
save_queue()
ring()
save()
return {'ok', run_record(run), id_record(run), false}
