-- Functions shared by recover.lua and give_back.lua.

-- Put a job back to the front of its queue; to dead as it is if the queue's key is no list. Return nil, or
-- the error for which it stays where it was: one job's error holds up no other.
local function put_back(queue, dead, payload, now)
  local done = redis.pcall('RPUSH', queue, payload)
  if type(done) == 'number' then return nil end
  if not string.find(done.err, 'WRONGTYPE', 1, true) then return done.err end
  done = redis.pcall('ZADD', dead, now, payload)
  return type(done) == 'table' and done.err or nil
end
