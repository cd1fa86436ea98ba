-- Settle finished jobs: out of the in-flight hash, into retry or dead or nowhere, their events written.
-- KEYS     1 in-flight hash, 2 events stream, 3.. keys that the jobs' commands touch
-- ARGV     1.. as settle() reads them
-- RETURNS  number of jobs settled; FENCED if this process' jobs were taken over
-- ATOMIC   each job leaves the hash in the same step in which it arrives elsewhere; a repeat changes nothing
-- COST     O(jobs)
-- include roomless
-- include settle
if not epoch_of(KEYS[1]) then return redis.error_reply("FENCED the jobs of this process were taken over") end
return settle(KEYS[1], KEYS[2], 1)
