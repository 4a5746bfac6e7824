-- A task that is off active waits again, with the given message: at the "head" or "tail" of
-- pending, or in retry until the given time (Unix, s).
local function asynq_return(q, id, where, msg)
  if where == 'head' then
    redis.call('RPUSH', q .. 'pending', id)
    redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'pending')
  elseif where == 'tail' then
    redis.call('LPUSH', q .. 'pending', id)
    redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'pending')
  else
    redis.call('ZADD', q .. 'retry', where, id)
    redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'retry')
  end
end
