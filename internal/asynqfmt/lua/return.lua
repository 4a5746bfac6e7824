-- A task that is off active waits again, with the given message: at the "head" or "tail" of
-- pending, or in retry until the given time (Unix, s).
local function asynq_return(q, id, where, msg)
  local state = 'pending'
  if where == 'head' then
    redis.call('RPUSH', q .. 'pending', id)
  elseif where == 'tail' then
    redis.call('LPUSH', q .. 'pending', id)
  else
    state = 'retry'
    redis.call('ZADD', q .. 'retry', where, id)
  end
  redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', state)
end
