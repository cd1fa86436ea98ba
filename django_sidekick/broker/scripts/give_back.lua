-- Give jobs back to the front of their queues: not begun, or still running when time is up.
-- KEYS     1 in-flight hash, 2.. queues, by index
-- ARGV     1.. tags, the last fetched first, so that the order on the queue stays
-- RETURNS  number of jobs given back; FENCED if this process' jobs were taken over
-- ATOMIC   each job is in the hash or on its queue; a repeat changes nothing
-- COST     O(jobs)
-- include settle
if not epoch_of(KEYS[1]) then return redis.error_reply("FENCED the jobs of this process were taken over") end
local count = 0
for i = 1, #ARGV do
  local payload = redis.call('HGET', KEYS[1], ARGV[i])
  if payload then
    redis.call('RPUSH', KEYS[2 + ARGV[i] % 256], payload)
    redis.call('HDEL', KEYS[1], ARGV[i])
    count = count + 1
  end
end
return count
