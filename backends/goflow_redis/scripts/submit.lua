-- SUBMIT: accept runs. The one script that a full Redis refuses.
-- uses: records ready
-- deny-oom
--
-- KEYS     the partition's prefix
-- ARGV     retention; number of runs, and for each: run, flow, fingerprint, digest, timeout (ms, 0 none),
--          handlers ('o', 'f', 'of', '-'), head (packed query, headers, starts), payload, timeout failure
--          ('' none), number of starts, starts
-- returns  for each: 'new' | 'same' | 'conflict', then the records :s and :i, then the recorded failure or false
-- repeat   'same': it is there under its digest
local classes = {}

-- There is a queue for this class, and workers know of it.
local function open_queue(class)
  if classes[class] then return end
  classes[class] = true
  if call('SADD', P .. ':classes', class) == 1 then
    call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'class', class)
  end
  if call('EXISTS', queue_key(class)) == 0 then
    call('XGROUP', 'CREATE', queue_key(class), 'g', '0', 'MKSTREAM')
  end
end

local function submit(place)
  local id, flow, fingerprint, digest = arg(), arg(), arg(), arg()
  local timeout, handlers, head, payload, late = number(), arg(), arg(), arg(), arg()
  local starts, key = {}, P .. ':r:' .. id
  for index = 1, number() do starts[index] = arg() end

  local known = call('HMGET', key, ':d', ':s', ':i')
  if known[1] then
    local failure = call('HGET', key .. ':d', 'f:')
    return {id, known[1] == digest and 'same' or 'conflict', known[2], known[3], failure}
  end

  open_queue(flow .. ':' .. fingerprint)
  local line = pack({flow, fingerprint, NOW, timeout, handlers})
  local fresh = pack({'queued', '-', 0, 0, 0, 0, 0, 0, 1, 0, 0, ''})
  call('HSET', key, ':i', line, ':d', digest, ':h', head, ':s', fresh)
  count(flow .. ' begun', 1)
  call('ZADD', P .. ':runs', string.format('%.0f', clock[1] * 1000000 + clock[2] + place), id)

  local run = get_run(id)
  set_data(run, 'q', payload)
  if late ~= '' then set_data(run, 'z', late) end
  for _, start in ipairs(starts) do deliver(run, start, false, 1, 0, '', 'q', nil) end
  return {id, 'new', fresh, line, false}
end

local answers = {}
for place = 1, number() do answers[place] = submit(place - 1) end
save_queue()
save()
for place, told in ipairs(answers) do
  local run = runs[told[1]]
  answers[place] = {told[2], run and run_record(run) or told[3], told[4], told[5]}
end
return answers
