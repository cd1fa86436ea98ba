-- Read what processes run, as of their beats: so many jobs in all, the first processes' first.
-- KEYS     1.. hashes of running jobs
-- ARGV     1 how many to read
-- RETURNS  how many there are; then for each key its fields and values that were read, flat; none of another type
-- ATOMIC   yes; reads only
-- COST     O(keys and jobs read)
local left, total, found = tonumber(ARGV[1]), 0, {}
for number, key in ipairs(KEYS) do
  local entries, size = {}, redis.pcall('HLEN', key)
  if type(size) == 'number' then
    total = total + size
    if size <= left then
      entries = redis.call('HGETALL', key)
    elseif left > 0 then
      local scanned = redis.call('HSCAN', key, 0, 'COUNT', left)[2]
      for at = 1, math.min(#scanned, 2 * left) do entries[at] = scanned[at] end
    end
    left = left - #entries / 2
  end
  found[number + 1] = entries
end
found[1] = total
return found
