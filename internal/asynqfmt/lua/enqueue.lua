-- A new task, which asynq_push puts into the pending list. Its ID must be new.
local function asynq_enqueue(q, id, msg, now_ns)
  redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'pending', 'pending_since', now_ns)
end
