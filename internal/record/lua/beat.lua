-- beat: a worker says who it is, and that it is alive.
--
-- KEYS: 1 index of workers (sorted set: ID by the time at which it is forgotten,
-- ms), 2 the worker's description (string). A worker is alive while it has a
-- description; the index may list some that are not.
-- ARGV: 1 worker, 2 time to live (ms), 3 description, 4 how long the index
-- remembers a worker that does not say this again (ms).

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[4]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
