-- Functions shared by the scripts of those who run jobs.

-- Write, and change nothing, before all else: a server that only reads refuses here, before anything has moved. One that
-- is out of memory takes all that follows in this script: what runs jobs makes room, and must not wait until there is some.
local function begin_to_write(hash) redis.call('HDEL', hash, '') end
