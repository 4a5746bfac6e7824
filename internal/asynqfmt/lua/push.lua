-- Pushes tasks to the end of the pending list.
local function asynq_push(q, ids)
  if #ids > 0 then
    redis.call('LPUSH', q .. 'pending', unpack(ids))
  end
end
