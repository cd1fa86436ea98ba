-- Return a slice of what a dead process held to the front of its queues; then forget the process.
-- KEYS     1 owners, 2 in-flight hash, 3 dead, then its queues, by index, then its wake lists in the same order
-- ARGV     1 identity, 2 most jobs and 3 about the most bytes in this slice (200 and 200,000: about 1 ms),
--          4 whether it is dead: '1' for certain, and no wait of its is open (it ends, and has closed it),
--          '2' for certain, but the server may still serve a wait of its (it was killed, or goes on under a
--          new name), '0' if its lease is over by Redis' clock; 5 s to remember a process whose wait may
--          still be served
-- RETURNS  {jobs returned, 1 if more are left}; {-1, 0} if there is no such owner or its lease still runs;
--          an error if what is left fits nowhere
--          in a slice the old order is kept, between slices it is not
-- ATOMIC   the first slice fences the process: its epoch goes before its jobs do. Unless no wait is open it is
--          remembered a while and swept again: BLMOVE may move one more job into its wake list. A job whose
--          queue's key is no list goes to dead as it is; one that fits nowhere holds up no other.
-- COST     O(jobs in the slice)
-- include roomless
-- include fencing
-- include returning
local queues = (#KEYS - 3) / 2
local now = fence(KEYS[1], KEYS[2], ARGV[1], ARGV[4] ~= '0')
if not now then return {-1, 0} end
-- How large the jobs are shows with the first few; from then on a slice is as long as its bytes allow.
local cursor, most = string.match(redis.call('HGET', KEYS[2], 'cursor') or '', '^(%d+) (%d+)$')
local page = redis.call('HSCAN', KEYS[2], cursor or '0', 'COUNT', most or 10)
local scanned, held, bytes, count, refused = page[2], {}, 1, 0, nil
for i = 1, #scanned, 2 do
  local tag = tonumber(scanned[i])
  if tag then
    held[#held + 1] = {tag, scanned[i], scanned[i + 1]}
    bytes = bytes + #scanned[i + 1]
  end
end
table.sort(held, function(one, other) return one[1] > other[1] end)
for _, job in ipairs(held) do
  local refusal = put_back(KEYS[4 + job[1] % 256], KEYS[3], job[3], now)
  if refusal then
    refused = refusal
  else
    redis.call('HDEL', KEYS[2], job[2])
    count = count + 1
  end
end
if #held > 0 then most = math.max(1, math.min(tonumber(ARGV[2]), math.floor(ARGV[3] * #held / bytes))) end
redis.call('HSET', KEYS[2], 'cursor', page[1] .. ' ' .. (most or 10))
if redis.call('HLEN', KEYS[2]) > 2 + redis.call('HEXISTS', KEYS[2], 'queues') then
  if refused and count == 0 then return redis.error_reply(refused) end
  return {count, 1}
end
redis.call('HDEL', KEYS[2], 'cursor')

for turn = 1, queues do
  local wake = KEYS[3 + queues + turn]
  for _, payload in ipairs(redis.call('LRANGE', wake, 0, -1)) do
    refused = put_back(KEYS[3 + turn], KEYS[3], payload, now)
    if refused then return redis.error_reply(refused) end
    redis.call('LPOP', wake)
    count = count + 1
  end
end
local forget_at = tonumber(redis.call('HGET', KEYS[2], 'fenced')) + ARGV[5]
if ARGV[4] == '1' or now >= forget_at then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], forget_at, ARGV[1])
end
return {count, 0}
