-- Register a process as owner of an in-flight hash, before its first fetch.
-- KEYS     1 owners, 2 in-flight hash
-- ARGV     1 identity, 2 lease in s, 3 names of the queues it reads, by index, a line each
-- RETURNS  1
-- ATOMIC   the owner and its hash appear together; a repeat renews the lease
-- COST     O(log owners)
-- include roomless
begin_to_write(KEYS[2])
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1000000 + ARGV[2], ARGV[1])
redis.call('HSETNX', KEYS[2], 'epoch', now[1] .. '.' .. now[2])
redis.call('HSET', KEYS[2], 'queues', ARGV[3])
return 1
