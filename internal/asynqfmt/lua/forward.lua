-- Moves a task from scheduled or retry to the end of pending. Answers whether it was there.
local function asynq_forward(q, id, now_ns)
  if redis.call('ZREM', q .. 'scheduled', id) == 0 and redis.call('ZREM', q .. 'retry', id) == 0 then
    return false
  end
  redis.call('LPUSH', q .. 'pending', id)
  redis.call('HSET', q .. 't:' .. id, 'state', 'pending', 'pending_since', now_ns)
  return true
end
