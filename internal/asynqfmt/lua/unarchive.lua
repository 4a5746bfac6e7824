-- Removes an archived task. Answers whether it was there.
local function asynq_unarchive(q, id)
  redis.call('DEL', q .. 't:' .. id)
  return redis.call('ZREM', q .. 'archived', id) > 0
end
