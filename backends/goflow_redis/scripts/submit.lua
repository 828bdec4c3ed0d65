-- SUBMIT: accept runs. The one script that a full Redis refuses.
-- uses: basics
-- deny-oom
--
-- KEYS     the partition's prefix
-- ARGV     retention; number of runs, and for each: packed run, flow, fingerprint, digest, timeout (ms, 0 none),
--          handlers ('o', 'f', 'of', '-'), {start ...}, for how long its end is to be told (ms, 0 not), number of pieces of further
--          starts; head (packed query, headers, starts), payload, timeout failure ('' none), those pieces (see `open_mail`)
-- returns  the time (ms), then for each the record :s of a new run, or for one that is there 'same' | 'conflict',
--          the records :s and :i, the recorded failure or false
-- repeat   'same': it is there under its digest
--
-- A new run has no pause, no inbox, no ending: its records are put together here, as `_records.lua` describes them,
-- without all that reads and changes those of others, whose functions alone would take as long as this.
cursor = 1   -- what ended runs are kept for matters later

-- A run's record between its state and the number of its last node: ending, phase, kill, held, revision; and after it:
-- acts, round, started, finished, uses. A start's around its entry: state; act, worker; and after its number: ready,
-- started, finished, have, expects, digest, an inbox that has the run's input.
local RUN, OF_RUN, WITH_MAIL = '\156\166queued\161-\0\0\0\1', '\0\1\0\0\160', '\0\1\0\0\161m'
local START, OF_ENTRY, OF_START = '\156\161Q', '\0\0', '\0\194\194\1\1\160\163\0\1q'

local answers, asked, begun, listed, repeated = {NOW}, number(), {}, {}, nil
-- one us after the other, in this very ms
local first = NOW * 1000 + math.min(clock[2] % 1000, 999 - asked)

for place = 1, asked do
  local id, flow, fingerprint, digest, timeout, handlers, starts, watched, pieces = elements(arg(), 1)
  local head, payload, late, key = arg(), arg(), arg(), P .. ':r:' .. id
  local known = call('HGET', key, ':d')
  if known then   -- what is told of it waits until all is there: it may be of this very call
    repeated = repeated or {}
    repeated[place] = {known == digest and 'same' or 'conflict', key}
    cursor = cursor + pieces
  else
    local class, date = flow .. ':' .. fingerprint, first + place
    local record = RUN .. pack(#starts) .. (pieces > 0 and WITH_MAIL or OF_RUN)
    local identity = '\149' .. pack(flow, fingerprint, date, timeout, handlers)
    local until_when = watched > 0 and string.format('%d.5', NOW + watched) or '0'   -- see `read_run`
    local values = {':s', record, ':i', identity, ':h', head, ':w', until_when, ':d', digest}
    for number, start in ipairs(starts) do
      local place, entry = #values, enqueue(flow, class, id, start)
      values[place + 1], values[place + 2] = start, START .. pack(entry) .. OF_ENTRY .. pack(number) .. OF_START
    end
    if pieces > 0 then
      local mail = {}
      for index = 1, pieces do mail[index] = arg() end
      call_many('RPUSH', key .. ':m', mail, 1000)
      call('ZADD', P .. ':p:' .. class, NOW, id .. ':*')
    end
    if watched > 0 then   -- as WATCH would have it: somebody is about to wait, and need not ask for it
      local news = key .. ':ev'
      if type(redis.pcall('XADD', news, '0-1', 'v', '0')) == 'table' then   -- those of a run that had this id are left
        call('UNLINK', news)
        call('XADD', news, '0-1', 'v', '0')
      end
      call('PEXPIRE', news, string.format('%d', watched))
    end
    call_many('HSET', key, values, 1000)
    if late == '' then
      call('HSET', key .. ':d', 'q', payload)
    else
      call('HSET', key .. ':d', 'q', payload, 'z', late)
    end
    begun[flow] = (begun[flow] or 0) + 1
    local places = listed[flow]
    if not places then
      places = {}
      listed[flow] = places
    end
    places[#places + 1], places[#places + 2] = string.format('%d', math.max(0, date - SINCE)), id
    answers[place + 1] = record
  end
end
ring()
for flow, places in pairs(listed) do
  call_many('ZADD', list_key(flow), places, 1000)
  call('HINCRBY', P .. ':figures', flow .. ' begun', begun[flow] == 1 and '1' or begun[flow])
end
for place, each in pairs(repeated or {}) do
  local how, key = each[1], each[2]
  local records = call('HMGET', key, ':s', ':i')
  answers[place + 1] = {how, records[1], records[2], call('HGET', key .. ':d', 'f:')}
end
return answers
