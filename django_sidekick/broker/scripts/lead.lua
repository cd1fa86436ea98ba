-- Become, or stay, the one that moves due jobs.
-- KEYS     1 leader
-- ARGV     1 name of the asking service, 2 lease in ms
-- RETURNS  1 it leads, 0 another does
-- ATOMIC   one leads; two for a moment would do no harm, for each move of a job is one script
-- COST     O(1)
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
