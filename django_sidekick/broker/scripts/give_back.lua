-- Give jobs back to the front of their queues: not begun, or still running when time is up.
-- KEYS     1 in-flight hash, 2 dead, 3.. queues, by index
-- ARGV     1.. tags, the last fetched first, so that the order on the queue stays
-- RETURNS  number of jobs given back; FENCED if this process' jobs were taken over
-- ATOMIC   each job is in the hash or on its queue; a repeat changes nothing. One whose queue's key is no list
--          goes to dead as it is, or, if that is no sorted set, stays in the hash.
-- COST     O(jobs)
-- include roomless
-- include settle
-- include returning
if not epoch_of(KEYS[1]) then return redis.error_reply("FENCED the jobs of this process were taken over") end
local count, now = 0, redis.call('TIME')[1]
for i = 1, #ARGV do
  local payload = redis.call('HGET', KEYS[1], ARGV[i])
  if payload and not put_back(KEYS[3 + ARGV[i] % 256], KEYS[2], payload, now) then
    redis.call('HDEL', KEYS[1], ARGV[i])
    count = count + 1
  end
end
return count
