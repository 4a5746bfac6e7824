-- cancel: ends a job that is not over. Chunks without an outcome never get one.
--
-- ARGV: 1 why, 2 channel on which workers listen for ended jobs.
-- Reply: "canceled" (now or before), "done" (too late), or "gone".

local j = redis.call('HMGET', KEYS[1], 'state', 'ttl', 'reply', 'id', 'recorded', 'done', 'failed')
if not j[1] then
  return 'gone'
end
if j[1] == 'done' or j[1] == 'canceled' then
  return j[1]
end
redis.call('HDEL', KEYS[1], 'args', 'run')
redis.call('HSET', KEYS[1], 'reason', ARGV[1])
redis.call('DEL', KEYS[2], KEYS[5])
finish('canceled', j[2])
notify(j[3], j[4], 'end', '-1', j[5], j[6], j[7], 'canceled', '')
redis.call('PUBLISH', ARGV[2], j[4])
return 'canceled'
