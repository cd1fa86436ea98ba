-- Forget the name of a queue in which nothing waits.
-- KEYS     1 list of the queue, 2 set of queue names
-- ARGV     1 its bare name
-- RETURNS  1 if nothing waits there, 0 if something does: then nothing has changed
-- ATOMIC   a push after it names the queue anew
-- COST     O(1)
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.pcall('SREM', KEYS[2], ARGV[1])
return 1
