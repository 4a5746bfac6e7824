-- A new task that becomes pending at the given time (Unix, s). Its ID must be new.
local function asynq_schedule(q, id, msg, at)
  redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'scheduled')
  redis.call('ZADD', q .. 'scheduled', at, id)
end
