-- beat: a worker says that it is alive.
--
-- KEYS: 1 index of workers (sorted set: ID by the time at which it counts as
-- dead, ms), 2 the worker's description (string).
-- ARGV: 1 worker, 2 time to live (ms), 3 description, or "" to keep the old one.
-- Reply: 1; or 0 when there was no old one to keep: send it again with one.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(tonumber(t[2]) / 1000)
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
elseif redis.call('PEXPIRE', KEYS[2], ARGV[2]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
if ARGV[3] ~= '' then -- now and then: forget the long dead, and let the index end with the last worker
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 60000))
  redis.call('EXPIRE', KEYS[1], 3600)
end
return 1
