-- Lone: runs of one node, with nothing to them but that. Most of those that come one after the other are such.
--
-- What such a run is at each step is known beforehand, but for some ids and times. So its records are compared as
-- texts and put together as texts, which costs half of reading them into tables and packing them again. What is not
-- exactly as written here, by this or by `submit.lua`, goes the long way; both write the same (tests/redis/test_lone.py).
-- The elements of a record stand in the order that `_records.lua` tells.
local QUEUED = '\156\166queued\161-\0\0\0\1\1\0\1\0\0\160'
-- around the time it was started
local RUNNING, GOES_ON = '\156\167running\161-\0\0\1\2\1\0\1', '\0\160'
-- before that, and after the time it finished
local SUCCEEDED, IS_OVER = '\156\169succeeded\169succeeded\3\0\0\3\1\1\1', '\160'
-- its node: around the entry, and from the number of the node on
local WAITS, WAS_WAITING = '\156\161Q', '\0\0\1\0\194\194\1\1\160\163\0\1q'
-- around the hold, the worker, and the time it was started
local TAKEN, TAKEN_BY, AT_ONCE, STILL = '\156\161R', '\0', '\1\0', '\194\1\1\160\163\0\1q'
-- around the hold, the worker, both times and the digest
local DONE, DONE_BY, DATED, WITH_INPUT = '\156\161D', '\1', '\1\1', '\163\0\1q'

-- Begins a run that waits to, and tells its task as `describe` would; nil where it is more than that. Its bytes of input.
local function begin_lone(raw, id, path, entry, hold, by, told)
  if raw[1] ~= QUEUED or TRACED or raw[5] ~= WAITS .. pack(entry) .. WAS_WAITING then return end
  if raw[4] and raw[4] ~= '0' and not string.find(raw[4], '.', 1, true) then return end   -- somebody is to hear of this as well
  local flow, fingerprint, date, timeout = elements(raw[2], 1)
  if timeout > 0 then return end
  local key, held = P .. ':r:' .. id, pack(hold)
  local input = call('HGET', key .. ':d', 'q') or ''
  call('HSET', key, ':s', RUNNING .. pack(NOW) .. GOES_ON,
    path, TAKEN .. held .. TAKEN_BY .. by .. AT_ONCE .. pack(NOW - math.floor(date / 1000)) .. STILL)
  move(flow, id, 'running', date)
  local place = #told
  told[place + 1] = '\157' .. pack(id, flow, fingerprint, path) .. held .. '\1\0\1\194\0\160\1\160'
  told[place + 2], told[place + 3] = raw[3], input
  return #input
end

-- Ends such a run with its node, which made `output` or nothing; whether it is one.
local function end_lone(raw, id, path, hold, by, began, ended, digest, output)
  local run, node = raw[1], raw[5]
  if not node or TRACED or string.sub(run, 1, #RUNNING) ~= RUNNING or string.sub(run, -2) ~= GOES_ON then return false end
  local held = pack(hold)
  local before = TAKEN .. held .. TAKEN_BY .. by .. AT_ONCE
  if string.sub(node, 1, #before) ~= before or string.sub(node, -#STILL) ~= STILL then return false end
  local flow, fingerprint, date, timeout, handlers = elements(raw[2], 1)
  if timeout > 0 or handlers ~= '-' then return false end
  local key, created = P .. ':r:' .. id, math.floor(date / 1000)
  local record = SUCCEEDED .. string.sub(run, #RUNNING + 1, -3) .. pack(NOW) .. IS_OVER
  call('HSET', key, ':s', record,
    path, DONE .. held .. DONE_BY .. by .. AT_ONCE .. pack(began - created, ended - created) .. DATED .. pack(digest) .. WITH_INPUT)
  if output then
    call('HSET', key .. ':d', 'o:' .. path, output, 'e', path)
  else
    call('HSET', key .. ':d', 'e', path)
  end
  call('PEXPIRE', key, RETENTION)
  call('PEXPIRE', key .. ':d', RETENTION)
  acknowledge(flow .. ':' .. fingerprint, string.sub(hold, 1, -5))
  count_end(flow, 'succeeded', NOW - created)
  move(flow, id, 'succeeded', date)
  tell(id, record, raw[2], output)
  if raw[4] and raw[4] ~= '0' and tonumber(raw[4]) > NOW then wake_at_end(key, raw[4], output) end
  return true
end
