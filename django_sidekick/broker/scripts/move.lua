-- Move jobs to other places, their texts rewritten by the caller: all of them, or none.
-- KEYS     1 where they are (list or sorted set), 2 set of queue names, 3 events stream, 4 number of its bytes,
--          5 number of dropped events,
--          6.. where they go (lists and sorted sets; KEYS 1 again for another score), then what follows touches
-- ARGV     1 'list' or 'zset' of KEYS 1, 2 events blob ('' = none), 3 most bytes of the stream,
--          4 how far from its right end a list is looked through (0 = all of it),
--          5 number of places they go to, for each: 'list' or 'zset', the bare name of a list's queue ('' of a set);
--          then the number of jobs, for each: old text, which place it goes to (from 1; 0 = nowhere), new text,
--          score in epoch s of a sorted set;
--          then the commands that follow: for each its number of words, its words
-- RETURNS  who stands in the way: n if job n is not there any more, -n if its target, or the set of names,
--          holds another type. Then nothing has changed. Empty if all were moved
-- ATOMIC   all that can fail is looked at before the first job moves; what follows cannot undo it. Events that a
--          full stream does not take are counted as dropped
-- COST     O(jobs * log n) in a sorted set; in a list O(jobs * their distance from its right end, where the next is
--          taken), of a job that has gone O(how far it is looked for)
-- include events
local source, is_list = KEYS[1], ARGV[1] == 'list'
local kinds, names, takes, at = {}, {}, {}, 6

local function is_kind(key, kind)
  local kept = redis.call('TYPE', key)['ok']
  return kept == 'none' or kept == kind
end

local has_names = is_kind(KEYS[2], 'set')
for target = 1, tonumber(ARGV[5]) do
  kinds[target], names[target] = ARGV[at], ARGV[at + 1]
  takes[target] = is_kind(KEYS[target + 5], kinds[target]) and (kinds[target] == 'zset' or has_names)
  at = at + 2
end

local jobs, first, in_the_way = tonumber(ARGV[at]), at + 1, {}
for job = 1, jobs do
  local from = first + (job - 1) * 4
  local target = tonumber(ARGV[from + 1])
  local is_there
  if is_list then
    is_there = redis.call('LPOS', source, ARGV[from], 'RANK', -1, 'MAXLEN', ARGV[4])
  else
    is_there = redis.call('ZSCORE', source, ARGV[from])
  end
  if not is_there then
    in_the_way[#in_the_way + 1] = job
  elseif target > 0 and not takes[target] then
    in_the_way[#in_the_way + 1] = -job
  end
end
if #in_the_way > 0 then return in_the_way end

for from = first, first + jobs * 4 - 1, 4 do
  local target = tonumber(ARGV[from + 1])
  if is_list then redis.call('LREM', source, -1, ARGV[from]) else redis.call('ZREM', source, ARGV[from]) end
  if kinds[target] == 'list' then
    redis.call('SADD', KEYS[2], names[target])
    redis.call('LPUSH', KEYS[target + 5], ARGV[from + 2])
  elseif kinds[target] == 'zset' then
    redis.call('ZADD', KEYS[target + 5], ARGV[from + 3], ARGV[from + 2])
  end
end
if ARGV[2] ~= '' then write_events(ARGV[2], tonumber(ARGV[3]), KEYS[3], KEYS[4], KEYS[5]) end
at = first + jobs * 4
while at <= #ARGV do
  local size = tonumber(ARGV[at])
  redis.pcall(unpack(ARGV, at + 1, at + size))
  at = at + 1 + size
end
return {}
