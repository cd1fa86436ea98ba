-- Become, or stay, the one that moves due jobs, or that writes events into SQL.
-- KEYS     1 leader
-- ARGV     1 name of the asking service, 2 lease in ms
-- RETURNS  1 it leads, 0 another does
-- ATOMIC   one leads; two for a moment do no harm: each move of a job is one script, and SQL knows what is written
-- COST     O(1)
local leader = redis.call('GET', KEYS[1])
if leader == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if leader then return 0 end
redis.call('DEL', KEYS[1]) -- changes nothing: see roomless.lua
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
