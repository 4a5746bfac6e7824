-- Deletes the hashes of tasks that are off every list, and counts them as processed.
local function asynq_delete(q, ids, day, expires)
  if #ids == 0 then
    return
  end
  local keys = {}
  for i = 1, #ids do
    keys[i] = q .. 't:' .. ids[i]
  end
  redis.call('DEL', unpack(keys))
  asynq_count(q, 'processed', #ids, day, expires)
end
