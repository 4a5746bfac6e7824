-- Takes a task off the active list. Answers whether it was there: an operator or another
-- transition may have moved it. asynq_unlease ends its lease.
local function asynq_retire(q, id)
  return redis.call('LREM', q .. 'active', '-1', id) > 0
end
