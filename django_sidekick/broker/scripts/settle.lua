-- Functions shared by fetch.lua and acknowledge.lua.

-- The fence: the epoch this process was registered under, or nil once recovery has taken its jobs.
-- Writing it back makes a server that is out of memory, or read-only, refuse before anything has moved.
local function epoch_of(inflight)
  local epoch = redis.call('HGET', inflight, 'epoch')
  if epoch then redis.call('HSET', inflight, 'epoch', epoch) end
  return epoch
end

-- Take finished jobs out of the in-flight hash, with all that belongs to their end.
-- ARGV from `at`: events blob ('' = none), its stream's length limit, number of plain tags, tags;
-- number of moved jobs, for each: tag, number of commands, for each: 'must' or 'may', its size, its words.
-- A moved job's commands run only if it is still held here, and before it is let go, so that an error in
-- a 'must' leaves it held; the error of a 'may' (a feature's follow-up) is passed over.
-- The events are written if this call settled every one of its jobs: a repeated call settles none.
local function settle(inflight, events, at)
  local blob, limit, plain = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local settled, first = 0, at + 3
  local last = first + plain - 1
  for i = first, last, 4000 do
    settled = settled + redis.call('HDEL', inflight, unpack(ARGV, i, math.min(i + 3999, last)))
  end
  local moved = tonumber(ARGV[last + 1])
  at = last + 2
  for _ = 1, moved do
    local tag, commands = ARGV[at], tonumber(ARGV[at + 1])
    local held = redis.call('HEXISTS', inflight, tag) == 1
    at = at + 2
    for _ = 1, commands do
      local size = tonumber(ARGV[at + 1])
      if held then
        local call = ARGV[at] == 'must' and redis.call or redis.pcall
        call(unpack(ARGV, at + 2, at + 1 + size))
      end
      at = at + 2 + size
    end
    if held then settled = settled + redis.call('HDEL', inflight, tag) end
  end
  if blob ~= '' and settled > 0 and settled == plain + moved then
    redis.call('XADD', events, 'MAXLEN', '~', limit, '*', 'b', blob)
  end
  return settled
end
