-- Ends the leases of tasks that are off active.
local function asynq_unlease(q, ids)
  if #ids > 0 then
    redis.call('ZREM', q .. 'lease', unpack(ids))
  end
end
