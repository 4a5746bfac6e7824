-- Pushes tasks to the end of the pending list. Lua unpacks a few thousand values at the most.
local function asynq_push(q, ids)
  for i = 1, #ids, 1000 do
    redis.call('LPUSH', q .. 'pending', unpack(ids, i, math.min(i + 999, #ids)))
  end
end
