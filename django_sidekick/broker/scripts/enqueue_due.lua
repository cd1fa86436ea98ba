-- Move jobs whose time has come from the schedule, or from retry, to their queues.
-- KEYS     1 schedule or retry, 2 set of queue names, 3 dead; the queues' own keys are named by the jobs
--          themselves: ARGV 4 and the name, in the same slot as the rest
-- ARGV     1 now in epoch s, 2 most jobs to move (<= 500: about 1 ms), 3 enqueued_at as JSON text, 4 prefix of queue keys
-- RETURNS  number of jobs moved
-- ATOMIC   each job is in the set or on its queue. What is no JSON object, or whose
--          queue's key is no list, goes to dead as it is.
--          enqueued_at is added as text before the last brace, never re-encoded; where the field stands
--          already, JSON's rule is that the last one counts.
-- COST     O(jobs * log n)
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
if #due == 0 then return 0 end
local by_queue, broken = {}, {}
for _, payload in ipairs(due) do
  local ok, job = pcall(cjson.decode, payload)
  local body = string.match(payload, '^(%s*{.*[^%s{])%s*}%s*$')
  if ok and type(job) == 'table' and body then
    local queue = type(job['queue']) == 'string' and job['queue'] ~= '' and job['queue'] or 'default'
    by_queue[queue] = by_queue[queue] or {}
    table.insert(by_queue[queue], body .. ',"enqueued_at":' .. ARGV[3] .. '}')
  else
    broken[#broken + 1] = payload
  end
end
for queue, payloads in pairs(by_queue) do
  redis.call('SADD', KEYS[2], queue)
  local pushed = redis.pcall('LPUSH', ARGV[4] .. queue, unpack(payloads))
  if type(pushed) == 'table' then
    for _, payload in ipairs(payloads) do broken[#broken + 1] = payload end
  end
end
for _, payload in ipairs(broken) do redis.call('ZADD', KEYS[3], ARGV[1], payload) end
redis.call('ZREM', KEYS[1], unpack(due))
return #due
