-- Move one job to another place, its text rewritten by the caller, if it is still where it was found.
-- KEYS     1 where it is (list or sorted set), 2 where it goes (list or sorted set), 3 set of queue names
-- ARGV     1 'list' or 'zset' of KEYS 1, 2 old text, 3 'list', 'zset' or 'none' of KEYS 2, 4 new text,
--          5 score in epoch s of a zset, or the bare name of a list's queue
-- RETURNS  1 moved, 0 it was not there any more, -1 KEYS 2 holds another type: nothing has changed
-- ATOMIC   the job is in the one place or in the other; where the names of queues should be and are not, none is added
-- COST     O(n) in a list, O(log n) in a sorted set
local kept = redis.call('TYPE', KEYS[2])['ok']
if ARGV[3] ~= 'none' and kept ~= 'none' and kept ~= ARGV[3] then return -1 end
local found
if ARGV[1] == 'list' then
  found = redis.call('LREM', KEYS[1], 1, ARGV[2])
else
  found = redis.call('ZREM', KEYS[1], ARGV[2])
end
if found == 0 then return 0 end
if ARGV[3] == 'list' then
  redis.pcall('SADD', KEYS[3], ARGV[5])
  redis.call('LPUSH', KEYS[2], ARGV[4])
elseif ARGV[3] == 'zset' then
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
end
return 1
