-- Removes deliveries that wait. Those in pending are looked for among n entries from the given
-- one on. Answers those of the others that are in pending.
local function asynq_withdraw(q, ids, from, n)
  local unwanted = {}
  for _, id in ipairs(ids) do
    local state = redis.call('HGET', q .. 't:' .. id, 'state')
    if state == 'pending' then
      unwanted[id] = true
    elseif state == 'scheduled' or state == 'retry' then
      redis.call('ZREM', q .. state, id)
      redis.call('DEL', q .. 't:' .. id)
    end
  end
  -- LREM searches from an end of the list, which may be long. So those that were found are
  -- marked, and go with one search.
  local marked = 0
  local window = n > 0 and next(unwanted) and redis.call('LRANGE', q .. 'pending', from, from + n - 1)
  for i, id in ipairs(window or {}) do
    if unwanted[id] then
      local set = redis.pcall('LSET', q .. 'pending', from + i - 1, '')
      if set.err then -- Redis is out of memory
        redis.call('LREM', q .. 'pending', 1, id)
      else
        marked = marked + 1
      end
      redis.call('DEL', q .. 't:' .. id)
      unwanted[id] = nil
    end
  end
  if marked > 0 then
    if from > redis.call('LLEN', q .. 'pending') / 2 then
      marked = 0 - marked
    end
    redis.call('LREM', q .. 'pending', marked, '')
  end
  local waiting = {}
  for id in pairs(unwanted) do
    waiting[#waiting + 1] = id
  end
  return waiting
end
