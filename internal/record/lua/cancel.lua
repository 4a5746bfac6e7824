-- cancel: ends a job that is not over. Chunks without an outcome never get one.
--
-- ARGV: 1 why, 2 channel on which workers listen for ended jobs, 3 the state that
-- is announced to the producer ("canceled" when it is left out), 4 the job's generation
-- (any when it is left out).
-- Reply: "canceled" (now or before), "done" (too late), or "gone".

local j = redis.call('HMGET', KEYS[1], 'state', 'id', 'gen')
if not j[1] or (ARGV[4] and another(j[3], ARGV[4])) then
  return 'gone'
end
if j[1] == 'done' or j[1] == 'canceled' then
  return j[1]
end
abort(ARGV[1], ARGV[3] or 'canceled')
redis.pcall('PUBLISH', ARGV[2], address(j[2]))
return 'canceled'
