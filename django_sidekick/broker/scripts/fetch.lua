-- Settle what is finished and take what is next, in one call.
-- KEYS     1 in-flight hash, 2 events stream, 3 set of paused queues, 4 dead, then the queues in this turn's order, then their
--          wake lists in the same order, then keys that the settled jobs' commands touch
-- ARGV     1 sequence number before this batch, 2 most jobs wanted, 3 number of queues Q,
--          4 '1' to adopt the wake lists, 'once' to do so unless this number has a batch, then Q indexes of the
--          queues (0-255), then as settle() reads them
-- RETURNS  {} or {"index:count,…|index,…", payload, payload, …}: what was taken, and which queues are paused;
--          nil if nothing was looked at: 'once', and this number has a batch; or the number is of the past
--          "|*": all of them for now, for the stream of events is full and its reader is waited for;
--          FENCED if this process' jobs were taken over
--          tag of a job = sequence * 256 + index of its queue
-- ATOMIC   a job is on its queue or in the hash; the same sequence number gives the same batch again. A call whose
--          connection was cut may be run long after: its number is of the past then, and would be given away twice
-- COST     O(jobs settled + jobs taken + Q)
-- include roomless
-- include settle
-- include returning
local inflight, base, wanted, queues = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not epoch_of(inflight) then return redis.error_reply("FENCED the jobs of this process were taken over") end
settle(inflight, KEYS[2], 5 + queues)

local before, summary = string.match(redis.call('HGET', inflight, 'last') or '', '^(%d+)|(.*)$')
if before and (tonumber(base) < tonumber(before) or before == base and ARGV[4] == 'once') then return false end
if before == base then
  local out, sequence = {summary}, tonumber(base)
  for index, count in string.gmatch(summary, '(%d+):(%d+)') do
    for _ = 1, tonumber(count) do
      sequence = sequence + 1
      out[#out + 1] = redis.call('HGET', inflight, sequence * 256 + index) or ''
    end
  end
  return out
end

-- Nothing is taken from a paused queue; what a wait took before it was paused goes back to its front, the oldest
-- last. What fits nowhere stays where it is: an error here would lose what was popped before.
local paused, names, at = {}, {}, 5 + queues
local is_full = ARGV[at] == 'throttle' and held_bytes(KEYS[2], ARGV[at + 3]) >= tonumber(ARGV[at + 2])
if is_full then
  for turn = 1, queues do paused[tonumber(ARGV[4 + turn])] = true end
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  local index = 0
  for name in string.gmatch(redis.call('HGET', inflight, 'queues') .. '\n', '(.-)\n') do
    if redis.call('SISMEMBER', KEYS[3], name) == 1 then
      paused[index] = true
      names[#names + 1] = index
    end
    index = index + 1
  end
end

local out, hash, counts, sequence = {''}, {}, {}, tonumber(base)
-- A key of another type under a queue's name gives nothing, for the same reason.
local function take(key, count, index)
  local payloads = redis.pcall('RPOP', key, count)
  if not payloads or payloads.err then return end
  for i = 1, #payloads do
    sequence = sequence + 1
    hash[#hash + 1] = sequence * 256 + index
    hash[#hash + 1] = payloads[i]
    out[#out + 1] = payloads[i]
  end
  counts[#counts + 1] = index .. ':' .. #payloads
end
for turn = 1, queues do
  local index = tonumber(ARGV[4 + turn])
  if ARGV[4] ~= '0' then
    local wake = KEYS[4 + queues + turn]
    if paused[index] then
      for _, payload in ipairs(redis.call('LRANGE', wake, 0, -1)) do
        if put_back(KEYS[4 + turn], KEYS[4], payload, redis.call('TIME')[1]) then break end
        redis.call('LPOP', wake)
      end
    else
      take(wake, 100, index)
    end
  end
end
for turn = 1, queues do
  local missing = wanted - #out + 1
  if missing <= 0 then break end
  local index = tonumber(ARGV[4 + turn])
  if not paused[index] then take(KEYS[4 + turn], missing, index) end
end
if is_full then return {'|*'} end
if #hash == 0 and #names == 0 then return {} end
local summary = table.concat(counts, ',')
out[1] = summary .. '|' .. table.concat(names, ',')
if #hash > 0 then redis.call('HSET', inflight, 'last', base .. '|' .. summary, unpack(hash)) end
return out
