-- Look for jobs among the members of a list or a sorted set from one rank to another, the newest first.
-- KEYS     1 list or sorted set
-- ARGV     1 'list' or 'zset', 2 first rank, 3 last rank, from 0; 4.. the jids, as JSON writes them
-- RETURNS  size of KEYS 1, members looked at, their bytes; then for each that may be such a job (the caller has to
--          read it to know): its rank, its text, its score ('' in a list)
-- ATOMIC   one slice; reads only
-- COST     O(members), about 1 ms for 1 MB
local is_list = ARGV[1] == 'list'
local members = redis.call(is_list and 'LRANGE' or 'ZREVRANGE', KEYS[1], ARGV[2], ARGV[3])
local wanted, escaped, bytes = {}, {}, 0
for number = 4, #ARGV do
  if string.find(ARGV[number], '\\', 1, true) then
    escaped[#escaped + 1] = ARGV[number]
  else
    wanted[ARGV[number]] = true
  end
end

local function may_be(member)
  local _, at = string.find(member, '"jid"', 1, true)
  while at do
    local jid = string.match(member, '^%s*:%s*"([^"]*)"', at + 1)
    if jid and wanted[jid] then return true end
    _, at = string.find(member, '"jid"', at + 1, true)
  end
  for _, jid in ipairs(escaped) do
    if string.find(member, jid, 1, true) then return true end
  end
  return false
end

local found = {redis.call(is_list and 'LLEN' or 'ZCARD', KEYS[1]), #members, 0}
for number, member in ipairs(members) do
  bytes = bytes + #member
  if may_be(member) then
    found[#found + 1] = ARGV[2] + number - 1
    found[#found + 1] = member
    found[#found + 1] = is_list and '' or redis.call('ZSCORE', KEYS[1], member)
  end
end
found[3] = bytes
return found
