-- SUBMIT: accept a run. The one script that a full Redis refuses.
-- uses: records ready
-- deny-oom
--
-- KEYS     the partition's prefix
-- ARGV     retention; run, flow, fingerprint, digest, timeout (ms, 0 none), handlers ('o', 'f', 'of', '-'),
--          head (packed query, headers, starts), payload, timeout failure ('' none), number of starts, starts
-- returns  'new' | 'same' | 'conflict', then the records :s and :i, then the recorded failure or false
-- repeat   'same': it is there under its digest
local id, flow, fingerprint, digest = arg(), arg(), arg(), arg()
local timeout, handlers, head, payload, late = number(), arg(), arg(), arg(), arg()
local key = P .. ':r:' .. id

local known = call('HMGET', key, ':d', ':s', ':i')
if known[1] then
  local failure = call('HGET', key .. ':d', 'f:')
  return {known[1] == digest and 'same' or 'conflict', known[2], known[3], failure}
end

local class = flow .. ':' .. fingerprint
if call('SADD', P .. ':classes', class) == 1 then
  call('XADD', P .. ':news', 'MAXLEN', '~', 100, '*', 'class', class)
end
if call('EXISTS', queue_key(class)) == 0 then
  call('XGROUP', 'CREATE', queue_key(class), 'g', '0', 'MKSTREAM')
end
local line = pack({flow, fingerprint, NOW, timeout, handlers})
local fresh = pack({'queued', '-', 0, 0, 0, 0, 0, 0, 1, 0, 0, ''})
call('HSET', key, ':i', line, ':d', digest, ':h', head, ':s', fresh)
call('HINCRBY', P .. ':figures', flow .. ' begun', 1)
call('ZADD', P .. ':runs', string.format('%.0f', clock[1] * 1000000 + clock[2]), id)

local run = get_run(id)
set_data(run, 'q', payload)
if late ~= '' then set_data(run, 'z', late) end
for _ = 1, number() do deliver(run, arg(), false, 1, 0, '', 'q', nil) end
save_queue()
save()
return {'new', run_record(run), line, false}
