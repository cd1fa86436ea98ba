-- Move jobs whose time has come from the schedule and from retry to their queues.
-- KEYS     1 set of queue names, 2 dead, 3.. schedule and retry; the queues' own keys are named by the jobs
--          themselves: ARGV 4 and the name, in the same slot as the rest
-- ARGV     1 now in epoch s, 2 most jobs to move of each set, 3 enqueued_at as JSON text,
--          4 prefix of queue keys, 5 bytes of one set's payloads after which its slice ends
-- RETURNS  number of jobs moved
-- ATOMIC   each job is in its set or on its queue. What is no JSON object, or whose
--          queue's key is no list, goes to dead as it is.
--          enqueued_at is added as text before the last brace, never re-encoded; where the field stands
--          already, JSON's rule is that the last one counts.
-- COST     O(jobs * log n); about 1 ms at most with 100 jobs and 100,000 bytes

-- The name of the job's queue, nil for what is no job. Sidekiq and we write retry and queue first, which
-- spares decoding, and serves texts that cjson refuses: lone surrogates, deep nesting.
local function queue_of(payload)
  local name = string.match(payload, '^{"retry":[%w.-]+,"queue":"([^"\\]+)"')
  if name then return name end
  local ok, job = pcall(cjson.decode, payload)
  if not ok or type(job) ~= 'table' then return nil end
  return type(job['queue']) == 'string' and job['queue'] ~= '' and job['queue'] or 'default'
end

local function enqueue(due)
  local by_queue, broken = {}, {}
  for _, payload in ipairs(due) do
    local body = string.match(payload, '^(%s*{.*[^%s{])%s*}%s*$')
    local queue = body and queue_of(payload)
    if queue then
      by_queue[queue] = by_queue[queue] or {}
      table.insert(by_queue[queue], body .. ',"enqueued_at":' .. ARGV[3] .. '}')
    else
      broken[#broken + 1] = payload
    end
  end
  for queue, payloads in pairs(by_queue) do
    redis.call('SADD', KEYS[1], queue)
    local pushed = redis.pcall('LPUSH', ARGV[4] .. queue, unpack(payloads))
    if type(pushed) == 'table' then
      for _, payload in ipairs(payloads) do broken[#broken + 1] = payload end
    end
  end
  for _, payload in ipairs(broken) do redis.call('ZADD', KEYS[2], ARGV[1], payload) end
end

local moved = 0
for set = 3, #KEYS do
  local left, bytes, size = tonumber(ARGV[2]), tonumber(ARGV[5]), 4
  while left > 0 and bytes > 0 do
    local due = redis.call('ZRANGE', KEYS[set], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, math.min(size, left))
    if #due == 0 then break end
    enqueue(due)
    redis.call('ZREM', KEYS[set], unpack(due))
    for _, payload in ipairs(due) do bytes = bytes - #payload end
    moved, left, size = moved + #due, left - #due, size * 2
  end
end
return moved
