-- Archives a task that is off active. at is now (Unix, s). The archive is trimmed elsewhere.
local function asynq_archive(q, id, msg, at)
  redis.call('ZADD', q .. 'archived', at, id)
  redis.call('HSET', q .. 't:' .. id, 'msg', msg, 'state', 'archived')
end
