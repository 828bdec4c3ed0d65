-- Group: what a queue's group has handed out.
local function last_delivered(queue)
  local groups = redis.pcall('XINFO', 'GROUPS', queue)
  if groups.err or not groups[1] then return '0-0' end
  for place = 1, #groups[1], 2 do
    if groups[1][place] == 'last-delivered-id' then return groups[1][place + 1] end
  end
end
