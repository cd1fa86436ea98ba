-- Functions shared by fence.lua and recover.lua.

-- Take the epoch of a process away, so that it settles, fetches and renews nothing any more. Return the time
-- in epoch s; nil if there is no such owner, or its lease still runs and it is not dead for certain.
local function fence(owners, inflight, identity, certain)
  begin_to_write(inflight)
  local lease = redis.call('ZSCORE', owners, identity)
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  if not lease or (not certain and now < tonumber(lease)) then return nil end
  redis.call('HSETNX', inflight, 'fenced', now)
  redis.call('HDEL', inflight, 'epoch', 'last')
  return now
end
