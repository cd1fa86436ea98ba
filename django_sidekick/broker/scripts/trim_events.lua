-- Take events out of the stream that have been written elsewhere.
-- KEYS     1 events stream, 2 number of its bytes, 3 which stream it is
-- ARGV     1 first id that stays, 2 bytes of the blobs that go, 3 which stream they were read from
-- RETURNS  number of entries that stay; nil, and nothing is done, if it is another stream by now
-- ATOMIC   the bytes change with the entries; a repeat changes nothing. An empty stream has none, whatever was counted.
-- COST     O(entries that go)
if redis.call('GET', KEYS[3]) ~= ARGV[3] then
  return nil
end
local gone = redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1])
local left = redis.call('XLEN', KEYS[1])
if left == 0 then
  redis.call('DEL', KEYS[2])
elseif gone > 0 and redis.call('DECRBY', KEYS[2], ARGV[2]) < 0 then
  redis.call('SET', KEYS[2], 0)
end
return left
