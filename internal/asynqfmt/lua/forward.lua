-- Moves a task from scheduled or retry to the end of pending, if its time there is not after by
-- (Unix, s). Answers whether it was so.
local function asynq_forward(q, id, now_ns, by)
  local set = 'scheduled'
  local at = redis.call('ZSCORE', q .. set, id)
  if not at then
    set = 'retry'
    at = redis.call('ZSCORE', q .. set, id)
  end
  if not at or tonumber(at) > by then
    return false
  end
  redis.call('ZREM', q .. set, id)
  redis.call('LPUSH', q .. 'pending', id)
  redis.call('HSET', q .. 't:' .. id, 'state', 'pending', 'pending_since', now_ns)
  return true
end
