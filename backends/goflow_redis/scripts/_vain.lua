-- Vain: a claim that finds nothing is answered before any function is made, which is most of what it would cost.
-- One new task wakes every idle worker, and one of them gets it. What is found, and what is in doubt, goes on to `take`.
local asked, first, early = tonumber(ARGV[6]), 1, nil
if asked > 0 and #ARGV == asked + 7 and ARGV[4] == '0' and ARGV[5] ~= '0' then   -- no outcomes, no repeat
  local call, lasts = redis.call, {}
  for index = 1, asked do
    local class = ARGV[index + 6]
    local queue = KEYS[1] .. ':q:' .. class
    local filled = call('XLEN', queue) > 0   -- as it seldom is: an outcome takes its entry with it
    local answer = filled and redis.pcall('XREADGROUP', 'GROUP', 'g', cmsgpack.unpack(ARGV[1])[3],
      'COUNT', ARGV[5], 'STREAMS', queue, '>')
    if answer then
      first, early, lasts = index, answer[1] and answer[1][2], nil
      break
    end
    if call('EXISTS', KEYS[1] .. ':p:' .. class) == 1 then lasts = nil break end
    local rang = call('XREVRANGE', KEYS[1] .. ':b:' .. class, '+', '-', 'COUNT', '1')[1]
    lasts[index] = rang and rang[1] or '0-0'
  end
  if lasts then return {'', {}, lasts} end
end
