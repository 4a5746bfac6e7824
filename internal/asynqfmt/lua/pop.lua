-- Moves up to n tasks from pending to active, with leases that end at the given time
-- (Unix, s). Answers their IDs in the order in which they waited; none while the queue
-- is paused. mark sets the state of those that a worker keeps.
local function asynq_pop(q, n, lease)
  if redis.call('EXISTS', q .. 'paused') == 1 then
    return {}
  end
  local ids = redis.call('RPOP', q .. 'pending', n)
  if not ids or #ids == 0 then
    return {}
  end
  redis.call('LPUSH', q .. 'active', unpack(ids))
  local leases = {}
  for i = 1, #ids do
    leases[2 * i - 1], leases[2 * i] = lease, ids[i]
  end
  redis.call('ZADD', q .. 'lease', unpack(leases))
  return ids
end
