-- KEEP: a piece of what a new round of a run with very many open branches needs before it begins, while the run has ended:
-- their waiting scopes lose their expiry. Who dies before the round leaves them so: in an hour DUE gives them one again.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; run
-- returns  1 where there is more; else 0
-- repeat   the next piece; all of them are needed once
local id = arg()
local run = get_run(id)
if not run or not run.terminal then return 0 end
local walks, branches = P .. ':walks', run.key .. ':x'
local place = call('HGET', walks, id)
if place == 'K' then return 0 end
place = place and string.match(place, '^K(%d+)$')
if not place then
  place = '0'
  call('PERSIST', branches)
end
call('ZADD', P .. ':due', NOW + HOUR, 'x:' .. id .. ':')
local step = call('SSCAN', branches, place, 'COUNT', SOME)
for _, path in ipairs(step[2]) do call('PERSIST', run.key .. ':s:' .. path) end
call('HSET', walks, id, step[1] == '0' and 'K' or 'K' .. step[1])
return step[1] == '0' and 0 or 1
