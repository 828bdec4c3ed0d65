-- Ready: inboxes, and what happens when one is full.
--
-- States of a node: W waits for arrivals; Q queued under `entry`; K ready but not queued (its run is paused
-- or has an ending); R held under `entry` and the call that took it; T waits for a retry until `due`; O open, its scopes on their way;
-- D done, F failed, C stopped. `entry` stays after the commit that ended it: a repeat is recognised by it.
-- A node that a new round goes on with may be parked before that begins (`prepare.lua`): K, with the round as its
-- date. Its record tells what it was, its state is among the flags, until it is ready.
-- Flags: c closing, h runs the node's own handler next, k has keys, e has a recorded failure.
local INLINE = 32   -- arrivals kept in the node record, and in one chunk of a wide inbox
local MAIL = 64     -- arrivals that one call delivers of what sends more; the others wait in `:m`, in pieces of so many
local ready, acks, demand = {}, {}, {}

local function queue_key(class) return P .. ':q:' .. class end
local function pump_key(class) return P .. ':p:' .. class end

-- Scopes of these branches start as workers ask for tasks, of which those that sleep hear.
-- rare
local function demand_all(run, paths)
  if not paths[1] then return end
  minted[run.class] = minted[run.class] or ''   -- so that `ring` wakes them
  local members = {}
  for index, path in ipairs(paths) do members[2 * index - 1], members[2 * index] = NOW, run.id .. ':' .. path end
  call_many('ZADD', pump_key(run.class), members, 1000)
end

-- All its scopes, a call's worth at once: the others with the walk.
-- rare
local function demand_scopes(run)
  local branches = run.key .. ':x'
  if call('SCARD', branches) <= SOME then return demand_all(run, call('SMEMBERS', branches)) end
  demand_all(run, call('SRANDMEMBER', branches, SOME))
  begin_walk(run)
end

local function make_ready(run, node)
  if node[SEQ] == 0 then
    run.seq = run.seq + 1
    node[SEQ] = run.seq
  end
  node[READY] = NOW - run.created
  node[ENTRY] = '-'
  node[DUE] = 0
  change(run, node)
  if run.ending ~= '-' and not is_handler(node) then
    node[STATE] = 'K'
  elseif run.state == 'paused' then
    node[STATE] = 'K'
    call('RPUSH', run.key .. ':k', node[PATH])
    use(run, 'k')
  else
    node[STATE] = 'Q'
    local place = #ready
    ready[place + 1], ready[place + 2] = run, node
  end
end

-- Again: a node as it is at the start of a new round.
-- rare
local function begin_again(node)
  if node[FLAGS] ~= '' then node[FLAGS] = (string.gsub(node[FLAGS], '[he%u]', '')) end
  node[ENTRY], node[ATTEMPT], node[LOST], node[DUE] = '-', 1, 0, 0
  node[STARTED], node[FINISHED], node[DIGEST] = false, false, ''
end

-- The stream entry of what a node is held under (see `hold` in `_take.lua`).
local function entry_of(held) return string.match(held, '^%d*%-%d*') end

-- Makes up to `most` parked nodes ready; whether there are more.
-- rare
local function unpark(run, most)
  for _, path in ipairs(call('LPOP', run.key .. ':k', most) or {}) do
    local node = get_node(run, path)
    if node and node[STATE] == 'K' then
      if node[DUE] > 0 then begin_again(node) end
      make_ready(run, node)
    end
  end
  return call('EXISTS', run.key .. ':k') == 1
end

local function acknowledge(class, entry)
  local entries = acks[class]
  if not entries then
    entries = {}
    acks[class] = entries
  end
  entries[#entries + 1] = entry
end

-- rare
local function counted_after(one, other)
  local ms, nth = string.match(one, '(%d+)-(%d+)')
  local than, following = string.match(other, '(%d+)-(%d+)')
  ms, nth, than, following = tonumber(ms), tonumber(nth), tonumber(than), tonumber(following)
  return ms > than or (ms == than and nth > following)
end

-- Whether an entry was made after another. Ids of one length are compared as they are: their ms have 13 digits.
local function after(one, other) return #one == #other and one > other or #one ~= #other and counted_after(one, other) end

-- Entries that were let go of leave the queue. To find one costs a walk past its neighbours; those before the oldest
-- that is still held go at once: all of them were delivered and let go of. (Not rare: each batch comes here, and what is
-- rare would be made with it.)
local function trim(queue, entries)
  local oldest, last, rest = call('XPENDING', queue, 'g')[2], nil, {}
  for _, entry in ipairs(entries) do
    if oldest and after(entry, oldest) then
      rest[#rest + 1] = entry
    elseif not last or after(entry, last) then
      last = entry
    end
  end
  if last then call('XTRIM', queue, 'MINID', oldest or last) end
  if not oldest then rest[1] = last end
  if rest[1] then call('XDEL', queue, unpack(rest)) end
end

-- Let go of acknowledged entries and mint new ones.
local function save_queue()
  for _, each in pairs(demand) do release(each[1], each[2], each[3]) end
  demand = {}
  for class, entries in pairs(acks) do
    local queue = queue_key(class)
    for first = 1, #entries, 1000 do
      local some = #entries <= 1000 and entries or {unpack(entries, first, math.min(first + 999, #entries))}
      local known = call('XACK', queue, 'g', unpack(some))
      -- XACK tells whether all of them were delivered
      if known < 4 or known < #some then call('XDEL', queue, unpack(some)) else trim(queue, some) end
    end
  end
  acks = {}
  for place = 1, #ready, 2 do
    local run, node = ready[place], ready[place + 1]
    node[ENTRY] = enqueue(run.flow, run.class, run.id, node[PATH])
  end
  if ready[1] then ready = {} end
end

-- Writes an arrival into its chunk of a wide inbox, under its source, if absent; whether it was.
-- rare
local function add_to_chunk(run, node, closing, hash, mark, ref)
  local chunks = math.ceil((closing and node[CLOSINGS] or node[EXPECTS]) / INLINE)
  local field = (closing and 'c:' or 'i:') .. (hash % chunks) .. ':' .. node[PATH]
  local text = get_data(run, field) or ''
  if string.find(text, mark, 1, true) then return false end
  set_data(run, field, text .. mark .. ref)
  return true
end

-- For a scope that is over another one may start: when all is delivered, with the others of its branch.
-- rare
local function ask_for_scope(run, node)
  local asked = demand[node]
  if asked then asked[3] = asked[3] + 1 else demand[node] = {run, node, 1} end
end

-- One arrival. `ref` names the field of the data hash it brings, '' where it brings nothing; `payload` is
-- stored there, nil where it is there already. A repeated one changes nothing.
local function deliver(run, path, closing, expects, hash, source, ref, payload)
  local node = get_node(run, path)
  if closing then
    if not node or node[STATE] ~= 'O' then return end
  else
    if not node then node = new_node(run, path, expects) end
    if node[STATE] ~= 'W' then return end
    node[EXPECTS] = expects
  end
  -- it is written under its source, if absent
  local mark = '\0' .. source .. '\1'
  if not closing and expects <= INLINE then
    local inbox = node[INBOX]
    if inbox ~= '' and string.find(inbox, mark, 1, true) then return end
    node[INBOX] = inbox .. mark .. ref
  elseif not add_to_chunk(run, node, closing, hash, mark, ref) then
    return
  end
  if closing then node[CLOSED] = node[CLOSED] + 1 else node[HAVE] = node[HAVE] + 1 end
  change(run, node)
  if payload then set_data(run, ref, payload) end
  if not closing then
    if node[HAVE] >= expects then make_ready(run, node) end
  elseif node[CLOSED] >= node[CLOSINGS] then
    set_flag(node, 'c')
    node[ATTEMPT], node[LOST] = 1, 0
    make_ready(run, node)
  elseif node[RELEASED] < node[WIDTH] then
    ask_for_scope(run, node)
  end
end

-- Delivers a piece of what waits in `:m`; whether there is more. A piece is a packed array: the field that starts get and
-- their paths, or false and of each arrival what COMMIT is told of it and its payload. One that came already changes nothing.
-- rare
local function open_mail(run)
  local mail = run.key .. ':m'
  local piece = call('LPOP', mail)
  if piece then
    local words = read_array(piece)
    if words[1] then
      for place = 2, #words do deliver(run, words[place], false, 1, 0, '', words[1], nil) end
    else
      for place = 2, #words, 8 do
        local has, payload = words[place + 6], words[place + 7]
        deliver(run, words[place], words[place + 1], words[place + 2], words[place + 3], words[place + 4],
          words[place + 5], has and payload or nil)
      end
    end
  end
  if call('EXISTS', mail) == 1 then return true end
  run.uses = (string.gsub(run.uses, 'm', ''))
  touch(run)
  return false
end

-- rare
local function await_mail(run)
  use(run, 'm')
  touch(run)
  demand_all(run, {'*'})
end

local function scope_key(run, node) return run.key .. ':s:' .. node[PATH] end

-- A scope as it is staged: `prefix NUL start NUL start ... SOH payload`. How many of its starts were begun.
-- rare
local function enter_scope(run, item)
  local stop = string.find(item, '\1', 1, true)
  local payload = string.sub(item, stop + 1)
  local prefix, ref, begun, rest = nil, nil, 0, nil
  for word in string.gmatch(string.sub(item, 1, stop - 1), '%Z+') do
    if not prefix then
      prefix = word
    elseif not ref then
      ref, begun = 'p:' .. prefix .. word, 1
      deliver(run, prefix .. word, false, 1, 0, '', ref, payload)
    elseif begun < MAIL then
      begun = begun + 1
      deliver(run, prefix .. word, false, 1, 0, '', ref, nil)
    else
      if not rest then rest = {ref} end
      rest[#rest + 1] = prefix .. word
      if #rest > MAIL then
        call('RPUSH', run.key .. ':m', pack(rest))
        await_mail(run)
        rest = nil
      end
    end
  end
  if rest then
    call('RPUSH', run.key .. ':m', pack(rest))
    await_mail(run)
  end
  return begun
end

-- rare
local function room(node)
  local left = node[WIDTH] - node[RELEASED]
  if node[WINDOW] == 0 then return left end
  return math.min(left, node[WINDOW] - (node[RELEASED] - node[CLOSED]))
end

-- Starts up to `most` waiting scopes of an open branch, as far as its window has room and its run goes on. Where they have
-- many starts those that are too much for one call go back, and are asked for.
-- rare
local function release(run, node, most)
  local count = math.min(most, room(node))
  if count <= 0 or run.ending ~= '-' then return 0 end
  local items = call('LPOP', scope_key(run, node), count)
  if not items then return 0 end
  if items[2] then
    local paths = {}
    for index, item in ipairs(items) do
      local prefix, start = string.match(item, '^(%Z+)%z([^%z\1]+)')
      paths[index] = prefix .. start
    end
    read_nodes(run, paths)
  end
  change(run, node)
  local begun, entered = 0, 0
  for _, item in ipairs(items) do
    if begun >= MAIL then break end
    begun, entered = begun + enter_scope(run, item), entered + 1
  end
  node[RELEASED] = node[RELEASED] + entered
  if entered < #items then
    for place = #items, entered + 1, -1 do call('LPUSH', scope_key(run, node), items[place]) end
    demand_all(run, {node[PATH]})
  end
  if node[RELEASED] >= node[WIDTH] then call('SREM', run.key .. ':x', node[PATH]) end
  return entered
end
