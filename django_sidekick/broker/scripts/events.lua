-- Functions shared by settle.lua, push.lua and move.lua.

-- How many bytes the stream holds: none if it is empty, whatever was counted, for somebody may have deleted it.
local function held_bytes(stream, bytes)
  if redis.pcall('XLEN', stream) == 0 then redis.call('DEL', bytes) end
  return tonumber(redis.pcall('GET', bytes)) or 0
end

-- Write a blob into the stream of events if it holds less than `limit` bytes; nil for no limit. What it does not take,
-- and what any error keeps out of it, is counted as dropped: the jobs have moved already, and nothing undoes that.
local function write_events(blob, limit, stream, bytes, dropped)
  local held = held_bytes(stream, bytes)
  local written = not (limit and held >= limit) and redis.pcall('XADD', stream, '*', 'b', blob)
  if type(written) == 'string' then
    redis.pcall('INCRBY', bytes, #blob)
  else
    redis.pcall('INCRBY', dropped, string.match(blob, '^(%d+)\n') or 1)
  end
end
