-- Renew the lease of a process.
-- KEYS     1 owners, 2 in-flight hash
-- ARGV     1 identity, 2 lease in s
-- RETURNS  1; FENCED if its jobs were taken over
-- ATOMIC   a process that was recovered cannot come back under its old name
-- COST     O(log owners)
-- include roomless
begin_to_write(KEYS[2])
if redis.call('HEXISTS', KEYS[2], 'epoch') == 0 then
  return redis.error_reply("FENCED the jobs of this process were taken over")
end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1000000 + ARGV[2], ARGV[1])
return 1
