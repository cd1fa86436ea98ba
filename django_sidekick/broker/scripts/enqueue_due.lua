-- Move jobs whose time has come from the schedule and from retry to their queues.
-- KEYS     1 set of queue names, 2 dead, 3.. schedule and retry; the queues' own keys are named by the jobs
--          themselves: ARGV 4 and the name, in the same slot as the rest
-- ARGV     1 now in epoch s, 2 most jobs to move of each set, 3 enqueued_at as JSON text,
--          4 prefix of queue keys, 5 bytes of one set's payloads after which its slice ends, 6 s by which that
--          is put off which fits nowhere
-- RETURNS  {number of jobs moved, those that went to dead}
-- ATOMIC   each job is in its set or on its queue. What is no JSON object, or whose queue's key is no list, goes
--          to dead as it is; if dead is of another type too, it stays in its set, and holds up no other.
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

-- What Redis says for another reason than a key's type: then it says so to all that follows.
local refusal

-- Return whether the command was carried out: not if its key is of another type.
local function did(...)
  local reply = redis.pcall(...)
  if type(reply) == 'number' then return true end
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then refusal = reply.err end
  return false
end

-- Move what is due out of a set: jobs to their queues, all else to dead. Add to `buried` what went there.
-- Only what has arrived elsewhere is taken out, so that an error in between repeats nothing.
local function move(set, due, buried)
  local by_queue, broken, gone = {}, {}, {}
  for _, payload in ipairs(due) do
    local body = string.match(payload, '^(%s*{.*[^%s{])%s*}%s*$')
    local queue = body and queue_of(payload)
    if queue then
      by_queue[queue] = by_queue[queue] or {texts = {}, members = {}}
      table.insert(by_queue[queue].texts, body .. ',"enqueued_at":' .. ARGV[3] .. '}')
      table.insert(by_queue[queue].members, payload)
    else
      broken[#broken + 1] = payload
    end
  end
  for queue, jobs in pairs(by_queue) do
    did('SADD', KEYS[1], queue)
    local to = (not refusal and did('LPUSH', ARGV[4] .. queue, unpack(jobs.texts))) and gone or broken
    for _, payload in ipairs(jobs.members) do to[#to + 1] = payload end
  end
  for _, payload in ipairs(broken) do
    if refusal then break end
    if did('ZADD', KEYS[2], ARGV[1], payload) then
      gone[#gone + 1] = payload
      buried[#buried + 1] = payload
    else
      redis.pcall('ZADD', set, ARGV[1] + ARGV[6], payload)
    end
  end
  if #gone > 0 then redis.call('ZREM', set, unpack(gone)) end
  return #gone
end

redis.pcall('HDEL', ARGV[4], '') -- changes nothing, whatever that key is: see roomless.lua
local moved, buried = 0, {}
for set = 3, #KEYS do
  local left, bytes, size = tonumber(ARGV[2]), tonumber(ARGV[5]), 4
  while left > 0 and bytes > 0 do
    local due = redis.pcall('ZRANGE', KEYS[set], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, math.min(size, left))
    if due.err or #due == 0 then break end
    moved = moved + move(KEYS[set], due, buried)
    if refusal then return redis.error_reply(refusal) end
    for _, payload in ipairs(due) do bytes = bytes - #payload end
    left, size = left - #due, size * 2
  end
end
return {moved, buried}
