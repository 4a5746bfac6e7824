-- Moves tasks from active back to where pop found them: the head of pending.
-- The first of them is the next to be popped.
local function asynq_unpop(q, ids)
  for i = #ids, 1, -1 do
    if redis.call('LREM', q .. 'active', 1, ids[i]) > 0 then
      redis.call('RPUSH', q .. 'pending', ids[i])
    end
  end
  if #ids > 0 then
    redis.call('ZREM', q .. 'lease', unpack(ids))
  end
end
