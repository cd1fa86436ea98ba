-- Functions shared by fetch.lua, acknowledge.lua, settle_dead.lua and give_back.lua.
-- include events

-- The fence: the epoch this process was registered under, or nil once recovery has taken its jobs.
local function epoch_of(inflight)
  begin_to_write(inflight)
  return redis.call('HGET', inflight, 'epoch')
end

local PROBES = {ZADD = 'ZCARD', RPUSH = 'LLEN'}

-- Fail if a command that must work would find its key of another type. ARGV from `at`: as settle() reads the moved jobs.
local function probe(at, moved)
  local probed = {}
  for _ = 1, moved do
    local commands = tonumber(ARGV[at + 1])
    at = at + 2
    for _ = 1, commands do
      local command, key = PROBES[ARGV[at + 2]], ARGV[at + 3]
      if command and ARGV[at] == 'must' and not probed[key] then
        redis.call(command, key)
        probed[key] = true
      end
      at = at + 2 + tonumber(ARGV[at + 1])
    end
  end
end

-- Take finished jobs out of the in-flight hash, with all that belongs to their end.
-- ARGV from `at`: how the stream is bounded ('' = no event comes with this call, 'drop' or 'throttle'), and if it is:
-- events blob ('' = none), most bytes, key of their number, key of the number of dropped events; then:
-- number of plain tags, tags;
-- number of moved jobs, for each: tag, number of commands, for each: 'must' or 'may', its size, its words.
-- A moved job's commands run only if it is still held here, and before it is let go. If one of the keys that a 'must'
-- writes is of another type, the call fails before anything has changed: the jobs stay, and so do their events. The
-- error of a 'may' (a feature's follow-up) is passed over.
-- The events are written if this call settled every one of its jobs: a repeated call settles none.
local function settle(inflight, events, at)
  local bound, blob, limit, bytes, dropped = ARGV[at], '', 0, nil, nil
  if bound ~= '' then
    blob, limit, bytes, dropped = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
    at = at + 4
  end
  local plain = tonumber(ARGV[at + 1])
  local settled, first = 0, at + 2
  local last = first + plain - 1
  local moved = tonumber(ARGV[last + 1])
  probe(last + 2, moved)
  for i = first, last, 4000 do
    settled = settled + redis.call('HDEL', inflight, unpack(ARGV, i, math.min(i + 3999, last)))
  end
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
    write_events(blob, bound == 'drop' and limit or nil, events, bytes, dropped)
  end
  return settled
end
