-- Put new jobs on their queues and into the schedule, once for each token.
-- KEYS     1 push token, 2 set of queue names, 3 schedule, 4.. one list a queue; with events, at the end: their
--          stream, the number of its bytes, the number of dropped events
-- ARGV     1 life of the token in s, 2 channel that is told of scheduled jobs, 3 their number, for each:
--          score in epoch s, payload; then for each queue of KEYS: its name, number of payloads, payloads;
--          then, with events, the most bytes of their stream, and the blobs; last: the number of blobs
-- RETURNS  1 pushed, 0 pushed before by the same token; WRONGTYPE if a key is of another kind: nothing is pushed
-- ATOMIC   all jobs or none; SET comes first so that a server out of memory refuses before anything moves
-- COST     O(jobs + queues), O(log n) for each scheduled one
-- include events
local blobs = tonumber(ARGV[#ARGV])
local last_queue = blobs > 0 and #KEYS - 3 or #KEYS
for key = 2, last_queue do
  local kind, wanted = redis.call('TYPE', KEYS[key])['ok'], key == 2 and 'set' or key == 3 and 'zset' or 'list'
  if kind ~= 'none' and kind ~= wanted then
    if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end -- by the transaction for many, which pushes in any case
    return redis.error_reply('WRONGTYPE ' .. KEYS[key] .. ' is a ' .. kind .. ', no ' .. wanted)
  end
end
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) then return 0 end
local at, scheduled = 4, tonumber(ARGV[3])
for _ = 1, scheduled do
  redis.call('ZADD', KEYS[3], ARGV[at], ARGV[at + 1])
  at = at + 2
end
if scheduled > 0 then redis.call('PUBLISH', ARGV[2], scheduled) end
for queue = 4, last_queue do
  local last = at + 1 + tonumber(ARGV[at + 1])
  redis.call('SADD', KEYS[2], ARGV[at])
  for first = at + 2, last, 4000 do
    redis.call('LPUSH', KEYS[queue], unpack(ARGV, first, math.min(first + 3999, last)))
  end
  at = last + 1
end
for blob = #ARGV - blobs, #ARGV - 1 do
  write_events(ARGV[blob], tonumber(ARGV[at]), KEYS[#KEYS - 2], KEYS[#KEYS - 1], KEYS[#KEYS])
end
return 1
