-- Settle jobs of a fenced process for it: finished before it died, or buried because they kill their process.
-- KEYS     1 in-flight hash, 2 events stream, 3.. keys that the jobs' commands touch
-- ARGV     1.. as settle() reads them
-- RETURNS  number of jobs settled; 0 for a process that is not fenced
-- ATOMIC   each job leaves the hash in the same step in which it arrives elsewhere; a repeat changes nothing
-- COST     O(jobs)
-- include roomless
-- include settle
begin_to_write(KEYS[1])
if redis.call('HEXISTS', KEYS[1], 'fenced') == 0 then return 0 end
return settle(KEYS[1], KEYS[2], 1)
