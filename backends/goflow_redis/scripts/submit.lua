-- SUBMIT: accept runs. The one script that a full Redis refuses.
-- uses: records ready
-- deny-oom
--
-- KEYS     the partition's prefix
-- ARGV     retention; number of runs, and for each: packed run, flow, fingerprint, digest, timeout (ms, 0 none),
--          handlers ('o', 'f', 'of', '-'), {start ...}; head (packed query, headers, starts), payload, timeout
--          failure ('' none)
-- returns  the time (ms), then for each the record :s of a new run, or for one that is there 'same' | 'conflict',
--          the records :s and :i, the recorded failure or false
-- repeat   'same': it is there under its digest
local classes, fresh, first = {}, {}, nil

-- There is a queue for this class, and workers know of it.
local function open_queue(flow, class)
  if classes[class] then return end
  classes[class] = true
  if call('SADD', P .. ':classes', class) == 1 then
    call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'class', class)
    call('SADD', P .. ':flows', flow)
  end
  if call('EXISTS', queue_key(class)) == 0 then
    call('XGROUP', 'CREATE', queue_key(class), 'g', '0', 'MKSTREAM')
  end
end

-- Whether a run is there already; what is told of it waits until all is saved, since it may be of this very call.
local repeated = {}

local function is_known(place, key, digest)
  local known = call('HGET', key, ':d')
  if not known then return false end
  repeated[place] = {known == digest and 'same' or 'conflict', key}
  return true
end

local function submit(place)
  local id, flow, fingerprint, digest, timeout, handlers, starts = elements(arg(), 1)
  local head, payload, late, key = arg(), arg(), arg(), P .. ':r:' .. id
  if is_known(place, key, digest) then return end

  local class = flow .. ':' .. fingerprint
  open_queue(flow, class)
  count(flow .. ' begun', 1)
  local run = {id, key, 'queued', '-', 0, 0, 0, 0, 0, 0, 1, 0, 0, '', flow, fingerprint, NOW, timeout, handlers, class,
    head, false, false, false, false, false, {}, false, false, false, false, first + place, false}
  runs[id] = run
  call('HSET', key, ':i', id_record(run), ':d', digest, ':h', head)
  set_data(run, 'q', payload)
  if late ~= '' then set_data(run, 'z', late) end
  for _, start in ipairs(starts) do
    run.nodes[start] = false   -- a new run has none
    deliver(run, start, false, 1, 0, '', 'q', nil)
  end
  fresh[place] = run
end

local answers, asked = {NOW}, number()
-- one us after the other, in this very ms
first = NOW * 1000 + math.min(clock[2] % 1000, 999 - asked)
for place = 1, asked do submit(place) end
save_queue()
save()
for place, run in pairs(fresh) do answers[place + 1] = run_record(run) end
for place, each in pairs(repeated) do
  local how, key = each[1], each[2]
  local records = call('HMGET', key, ':s', ':i')
  answers[place + 1] = {how, records[1], records[2], call('HGET', key .. ':d', 'f:')}
end
return answers
