-- Fence a process that is dead, or whose lease is over: the first step of its recovery.
-- KEYS     1 owners, 2 in-flight hash
-- ARGV     1 identity, 2 '1' if it is dead for certain, '0' if its lease must be over by Redis' clock
-- RETURNS  names of its queues, by index, a line each; nil if there is no such owner or its lease still runs
-- ATOMIC   afterwards only settle_dead.lua and recover.lua change what it holds; a repeat changes nothing
-- COST     O(log owners)
-- include roomless
-- include fencing
if not fence(KEYS[1], KEYS[2], ARGV[1], ARGV[2] == '1') then return false end
return redis.call('HGET', KEYS[2], 'queues') or ''
