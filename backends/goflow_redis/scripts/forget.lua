-- FORGET: remove a run that has ended, with everything of it. What queues still hold of it is met by no node
-- and dropped where it is found, as after its retention.
-- uses: basics records
--
-- KEYS     the partition's prefix
-- ARGV     retention; run
-- returns  'gone' | 'live' | 'more' (to be called again) | 'ok'; its state
-- repeat   'gone', as if there had never been one
local id = arg()
local run = get_run(id)
if not run then return {'gone', ''} end
if not run.terminal then return {'live', run.state} end
local scopes = call('SPOP', run.key .. ':x', SOME)
for _, path in ipairs(scopes) do call('UNLINK', run.key .. ':s:' .. path) end
if #scopes == SOME then   -- some at a time. What has lost scopes begins no round any more, whoever dies in between
  call('HSET', run.key, ':f', '1')
  return {'more', run.state}
end
for _, suffix in ipairs({'', ':d', ':a', ':l', ':c', ':k', ':m', ':x', ':ev'}) do call('UNLINK', run.key .. suffix) end
call('HDEL', P .. ':walks', id)
call('ZREM', P .. ':due', 'x:' .. id .. ':')
call('ZREM', list_key(run.flow), id)
call('ZREM', P .. ':due', 't:' .. id)
return {'ok', run.state}
