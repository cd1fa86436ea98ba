-- Return a slice of what a dead process held to the front of its queues; then forget the process.
-- KEYS     1 owners, 2 in-flight hash, then its queues, by index, then its wake lists in the same order
-- ARGV     1 identity, 2 most jobs in this slice, 3 whether it is dead: '1' for certain (the process itself
--          ends), '2' for certain, but a wait of its may still run (it goes on under a new name), '0' if its
--          lease is over by Redis' clock; 4 s to remember a process that may still live
-- RETURNS  {jobs returned, 1 if more are left}; {-1, 0} if there is no such owner or its lease still runs
--          in a slice the old order is kept, between slices it is not
-- ATOMIC   the first slice fences the process: its epoch goes before its jobs do. One that is not dead for
--          certain is remembered a while and swept again: a wait that the server still holds for it may
--          move one more job into its wake list.
-- COST     O(jobs in the slice)
-- include fencing
local queues = (#KEYS - 2) / 2
local now = fence(KEYS[1], KEYS[2], ARGV[1], ARGV[3] ~= '0')
if not now then return {-1, 0} end
local page = redis.call('HSCAN', KEYS[2], redis.call('HGET', KEYS[2], 'cursor') or '0', 'COUNT', ARGV[2])
local scanned = page[2]
local held = {}
for i = 1, #scanned, 2 do
  local tag = tonumber(scanned[i])
  if tag then held[#held + 1] = {tag, scanned[i], scanned[i + 1]} end
end
table.sort(held, function(one, other) return one[1] > other[1] end)
for _, job in ipairs(held) do
  redis.call('RPUSH', KEYS[3 + job[1] % 256], job[3])
  redis.call('HDEL', KEYS[2], job[2])
end
redis.call('HSET', KEYS[2], 'cursor', page[1])
if redis.call('HLEN', KEYS[2]) > 2 + redis.call('HEXISTS', KEYS[2], 'queues') then return {#held, 1} end
redis.call('HDEL', KEYS[2], 'cursor')

local count = #held
for turn = 1, queues do
  local woken = redis.call('LRANGE', KEYS[2 + queues + turn], 0, -1)
  for _, payload in ipairs(woken) do redis.call('RPUSH', KEYS[2 + turn], payload) end
  redis.call('DEL', KEYS[2 + queues + turn])
  count = count + #woken
end
local forget_at = tonumber(redis.call('HGET', KEYS[2], 'fenced')) + ARGV[4]
if ARGV[3] == '1' or now >= forget_at then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], forget_at, ARGV[1])
end
return {count, 0}
