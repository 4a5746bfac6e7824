-- Moves tasks from active back to where pop found them: the head of pending.
-- The first of them is the next to be popped.
local function asynq_unpop(q, ids)
  for i = #ids, 1, -1 do
    redis.call('LREM', q .. 'active', 1, ids[i])
    redis.call('RPUSH', q .. 'pending', ids[i])
  end
  if #ids > 0 then
    redis.call('ZREM', q .. 'lease', unpack(ids))
  end
end
