-- The pending list may be long, and LREM and LPOS search it from an end. But it is in the order of
-- pending_since, the newest in front, so a few looks find a task's place.
--
-- Answers the first place from which on tasks are pending since the given time, or for longer. n is
-- the length of the list.
local function asynq_place(q, since, n)
  local function at(place)
    local id = redis.call('LRANGE', q .. 'pending', place, place)[1]
    return tonumber(id and redis.call('HGET', q .. 't:' .. id, 'pending_since') or nil)
  end
  local newest, oldest = at(0), at(n - 1)
  local low, high, step, look = 0, n, 64, 0
  if newest and oldest and newest > since and since > oldest then
    look = math.floor((n - 1) * (newest - since) / (newest - oldest)) -- if they came evenly
  end
  while high - low > 64 do
    local then_since = at(look)
    if then_since and then_since <= since then
      high = look
      look = low > 0 and math.floor((low + high) / 2) or math.max(low, high - step)
    else
      low = look + 1
      look = high < n and math.floor((low + high) / 2) or math.min(high - 1, low + step)
    end
    step = step * 4
  end
  return low
end

-- Removes unwanted tasks from n entries of the pending list, from the given one on. The newest task
-- takes the place of one that goes, and its time with it, so that the order stays. unwanted has since
-- when tasks are pending, by their IDs, and loses those that go.
local function asynq_remove(q, unwanted, from, n)
  local pending, removed = q .. 'pending', 0
  local window = redis.call('LRANGE', pending, from, from + n - 1)
  for i = #window, 1, -1 do
    local id = window[i]
    while unwanted[id] do
      local newest = redis.call('LRANGE', pending, 0, 0)[1]
      local gone = unwanted[newest] and newest or id
      redis.call('DEL', q .. 't:' .. gone)
      redis.call('LTRIM', pending, '1', '-1')
      if gone ~= newest then -- a script that has written is not refused for lack of memory
        redis.call('LSET', pending, from + i - 2 - removed, newest)
        redis.call('HSET', q .. 't:' .. newest, 'pending_since', unwanted[id])
      end
      unwanted[gone] = nil
      removed = removed + 1
    end
  end
end

-- Removes deliveries that wait. Those in pending are looked for among n entries from the given one on;
-- or, where from is negative, each at its place, n times at the most. Answers those of the others that
-- are in pending.
local function asynq_withdraw(q, ids, from, n)
  local unwanted, pending = {}, {}
  for _, id in ipairs(ids) do
    local t = redis.call('HMGET', q .. 't:' .. id, 'state', 'pending_since')
    if t[1] == 'pending' then
      unwanted[id] = t[2] or '0'
      pending[#pending + 1] = id
    elseif t[1] == 'scheduled' or t[1] == 'retry' then
      redis.call('ZREM', q .. t[1], id)
      redis.call('DEL', q .. 't:' .. id)
    end
  end
  if from >= 0 and n > 0 then
    asynq_remove(q, unwanted, from, n)
  end
  local waiting = {}
  for _, id in ipairs(pending) do
    if unwanted[id] and from < 0 and n > 0 then
      n = n - 1
      local place = asynq_place(q, tonumber(unwanted[id]) or 0, redis.call('LLEN', q .. 'pending'))
      asynq_remove(q, unwanted, math.max(0, place - 16), 100)
      if unwanted[id] then -- many came with it, and are pending since the same time; or clocks differ
        asynq_remove(q, unwanted, math.max(0, place - 100), 500)
      end
    end
  end
  for _, id in ipairs(pending) do
    if unwanted[id] then
      waiting[#waiting + 1] = id
    end
  end
  return waiting
end
