-- Stop being the one that moves due jobs.
-- KEYS     1 leader
-- ARGV     1 name of the service
-- RETURNS  1 it has led, 0 it has not
-- ATOMIC   another's lease stays as it is
-- COST     O(1)
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
