-- FORGET: remove a run that has ended, with everything of it. What queues still hold of it is met by no node
-- and dropped where it is found, as after its retention.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; run
-- returns  'gone' | 'live' | 'ok'; its state
-- repeat   'gone', as if there had never been one
local id = arg()
local run = get_run(id)
if not run then return {'gone', ''} end
if not run.terminal then return {'live', run.state} end
for _, path in ipairs(call('SMEMBERS', run.key .. ':x')) do call('UNLINK', run.key .. ':s:' .. path) end
for _, suffix in ipairs({'', ':d', ':a', ':l', ':c', ':k', ':x', ':ev'}) do call('UNLINK', run.key .. suffix) end
call('ZREM', list_key(run.flow), id)
call('ZREM', P .. ':due', 't:' .. id)
return {'ok', run.state}
