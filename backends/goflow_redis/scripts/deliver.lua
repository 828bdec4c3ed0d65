-- DELIVER: a piece of what nodes of a run that has ended had sent on and nobody had asked for, so that a new round finds
-- all of it where it belongs. Nothing starts.
-- uses: basics records ready
--
-- KEYS     the partition's prefix
-- ARGV     retention; run
-- returns  1 where there is more; else 0
-- repeat   the next piece
local run = get_run(arg())
if not run or not run.terminal or not string.find(run.uses, 'm', 1, true) then return 0 end
local more = open_mail(run)
save()
return more and 1 or 0
