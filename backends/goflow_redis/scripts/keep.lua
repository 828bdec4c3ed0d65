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
if call('HGET', P .. ':walks', id) == 'K' then return 0 end
call('PERSIST', run.key .. ':x')
call('ZADD', P .. ':due', NOW + HOUR, 'x:' .. id .. ':')
local paths, over = walk_on(id, 'K', SOME)
for _, path in ipairs(paths) do call('PERSIST', run.key .. ':s:' .. path) end
if over then call('HSET', P .. ':walks', id, 'K') end
return over and 0 or 1
