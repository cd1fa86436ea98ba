-- Functions shared by settle.lua, push.lua and move.lua.

-- Write a blob into the stream of events if it holds less than `limit` bytes; nil for no limit. What it does not take,
-- and what any error keeps out of it, is counted as dropped: the jobs have moved already, and nothing undoes that.
local function write_events(blob, limit, stream, bytes, dropped)
  local is_full = limit and (tonumber(redis.pcall('GET', bytes)) or 0) >= limit
  local written = not is_full and redis.pcall('XADD', stream, '*', 'b', blob)
  if type(written) == 'string' then
    redis.pcall('INCRBY', bytes, #blob)
  else
    redis.pcall('INCRBY', dropped, string.match(blob, '^(%d+)\n') or 1)
  end
end
