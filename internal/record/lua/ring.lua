-- ring: wakes up to n idle workers of a queue.
--
-- KEYS: 1 the queue's bell (list).
-- ARGV: 1 n, 2 how many rings may wait for workers that are not idle yet.
-- A bell that nobody hears for 10 s falls silent: it costs a poll, not a task.

local n = tonumber(ARGV[1])
for _ = 1, n do
  redis.call('RPUSH', KEYS[1], '1')
end
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
redis.call('EXPIRE', KEYS[1], 10)
return n
