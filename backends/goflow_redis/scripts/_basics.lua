-- Basics: what every transition begins with.
local P, call = KEYS[1], redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- a text: Redis prints a number with 17 digits before it reads it, which takes as long as a whole command
local HOUR = '3600000'

-- Lists of runs, one a flow: the score is the place of the run's state, SPAN apart from the next, plus its date since
-- 2020 (35 years fit). So one range of scores is one state, the newest at its end.
local SPAN, SINCE = 1125899906842624, 1577836800000000
local function list_key(flow) return P .. ':runs:' .. flow end

local cursor = 0
local function arg() cursor = cursor + 1 return ARGV[cursor] end
local function number() cursor = cursor + 1 return tonumber(ARGV[cursor]) end

local pack, read_array, char, bytes = cmsgpack.pack, cmsgpack.unpack, string.char, struct.pack

-- The elements of a packed array, without making a table of them: its header is skipped, of 3 bytes from 16
-- elements on and of 1 below. A table that cmsgpack makes grows by and by, which costs as much as what is in it.
local function elements(record, header) return read_array(string.sub(record, header + 1)) end

-- redis.call with any number of trailing arguments: `unpack` fails near 8,000
local function call_many(command, key, values, step)
  if #values <= step then return #values > 0 and call(command, key, unpack(values)) end
  for first = 1, #values, step do
    call(command, key, unpack(values, first, math.min(first + step - 1, #values)))
  end
end

-- There is a queue for this class, and workers know of it.
local function open_queue(flow, class)
  if call('SADD', P .. ':classes', class) == 1 then
    call('XADD', P .. ':news', 'MAXLEN', '~', '100', '*', 'class', class)
    call('SADD', P .. ':flows', flow)
  end
  if call('EXISTS', P .. ':q:' .. class) == 0 then
    call('XGROUP', 'CREATE', P .. ':q:' .. class, 'g', '0', 'MKSTREAM')
  end
end

-- by class the entry that was made last, and the one that was taken last
local minted, taken = {}, {}

-- Queues a task under a new entry, whose id is the fence. A queue that is there is open.
local function enqueue(flow, class, id, path)
  local queue = P .. ':q:' .. class
  local entry = call('XADD', queue, 'NOMKSTREAM', '*', 'r', id, 'n', path)
  if not entry then
    open_queue(flow, class)
    entry = call('XADD', queue, '*', 'r', id, 'n', path)
  end
  minted[class] = entry
  return entry
end

local function bell_key(class) return P .. ':b:' .. class end

-- Wakes who waits for tasks, where this call leaves some: of what it has taken itself nobody need hear. A chain
-- would wake every idle worker with each step, and the one that goes on with it too. A bell's last entry alone means
-- something. Those before it go a hundred at a time (`~`): to take each away leaves a gap, and Redis walks past all of
-- them in the next call, which was a quarter of a SUBMIT.
local function ring()
  for class, entry in pairs(minted) do
    if taken[class] ~= entry then call('XADD', bell_key(class), 'MAXLEN', '~', '1', '*', 'r', '') end
  end
end
