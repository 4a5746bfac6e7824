-- The pending list may be long, and LREM and LPOS search it from an end. But it is in the order of
-- pending_since, the newest in front, so a few looks find a task's place.
--
-- Answers about the first place from which on tasks are pending since the given time, or for longer.
local function asynq_place(q, since)
  local low, high = 0, redis.call('LLEN', q .. 'pending')
  while high - low > 64 do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('LRANGE', q .. 'pending', middle, middle)[1]
    local its = tonumber(redis.call('HGET', q .. 't:' .. id, 'pending_since') or nil)
    if its and its <= since then
      high = middle
    else
      low = middle + 1
    end
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

-- Removes tasks that wait. It looks for pending ones among n entries from the given one on. If from is
-- negative, it looks for each at its place, for n of them at most. With a head it also removes archived
-- tasks with a payload that begins with the head and the name in their ID: the queue may have other
-- programs' tasks. Answers the tasks that are still there, as "SINCE ID". SINCE is the time since which
-- the task is pending, or "" if it is not pending.
local function asynq_withdraw(q, ids, head, from, n)
  local unwanted, pending, left = {}, {}, {}
  for _, id in ipairs(ids) do
    local t = redis.call('HMGET', q .. 't:' .. id, 'state', 'pending_since')
    local state = t[1] or 'archived'
    if state == 'pending' then
      unwanted[id] = t[2] or '0'
      pending[#pending + 1] = id
    elseif state == 'scheduled' or state == 'retry' or state == 'archived' and head ~= '' then
      local msg = state == 'archived' and redis.call('HGET', q .. 't:' .. id, 'msg')
      if msg and not string.find(msg, head .. string.match(id, '^[^:~]*') .. '"', 1, true) then
        left[#left + 1] = ' ' .. id
      else
        redis.call('ZREM', q .. state, id)
        redis.call('DEL', q .. 't:' .. id)
      end
    elseif head ~= '' then -- it has left the archive
      left[#left + 1] = ' ' .. id
    end
  end
  if from >= 0 and n > 0 then
    asynq_remove(q, unwanted, from, n)
  end
  for _, id in ipairs(pending) do
    if unwanted[id] and from < 0 and n > 0 then
      n = n - 1
      local place = asynq_place(q, tonumber(unwanted[id]) or 0)
      asynq_remove(q, unwanted, math.max(0, place - 16), 100)
      if unwanted[id] then -- many came with it, and are pending since the same time; or clocks differ
        asynq_remove(q, unwanted, math.max(0, place - 100), 500)
      end
    end
  end
  for _, id in ipairs(pending) do
    if unwanted[id] then
      left[#left + 1] = unwanted[id] .. ' ' .. id
    end
  end
  return left
end
