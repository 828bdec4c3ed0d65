-- Vain: a claim that finds nothing is answered before any function is made, which is most of what it would cost.
-- One new task wakes every idle worker, and one of them gets it. Reads only; what is in doubt goes on to `take`.
local asked = tonumber(ARGV[6])
if asked > 0 and #ARGV == asked + 7 and ARGV[4] == '0' then   -- no outcomes, no repeat
  local call, lasts = redis.call, {}
  for index = 7, asked + 6 do
    local queue = KEYS[1] .. ':q:' .. ARGV[index]
    if call('EXISTS', KEYS[1] .. ':p:' .. ARGV[index]) == 1 then lasts = false break end
    local last = call('XREVRANGE', queue, '+', '-', 'COUNT', 1)[1]
    last = last and last[1] or '0-0'
    if last ~= '0-0' then
      local group = call('XINFO', 'GROUPS', queue)[1] or {}
      local told
      for place = 1, #group, 2 do
        if group[place] == 'last-delivered-id' then told = group[place + 1] end
      end
      local at, nth = string.match(last, '(%d+)-(%d+)')
      local told_at, told_nth = string.match(told or '0-0', '(%d+)-(%d+)')
      at, told_at = tonumber(at), tonumber(told_at)
      if at > told_at or at == told_at and tonumber(nth) > tonumber(told_nth) then lasts = false break end
    end
    lasts[index - 6] = last
  end
  if lasts then return {{}, {}, lasts} end
end
