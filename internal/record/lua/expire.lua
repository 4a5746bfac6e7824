-- expire: ends a job of which no chunk was begun in time.
--
-- Reply: the time that it has left (ms, above 0); 0 it was ended now, for that
-- reason; -1 it is over, has begun, has no such limit, or does not exist.

local j = redis.call('HMGET', KEYS[1], 'state', 'expires')
if not j[2] or j[1] == 'done' or j[1] == 'canceled' then
  return -1
end
return time_left(j[2])
