-- withdraw: removes deliveries from a queue of asynq's that no worker has taken, or that
-- failed.
--
-- KEYS: 1 asynq's pending list, 2 scheduled, 3 retry, 4 archived (sorted sets).
-- ARGV: 1 the prefix of asynq's task keys, 2 where in the pending list to look, and 3 how
-- many entries of it (0: not there), 4 "1" to remove failed ones, too, then the task IDs.
-- Reply: how many were removed, and those of the others that are in the pending list.

local unwanted, removed = {}, 0
local sets = {scheduled = KEYS[2], retry = KEYS[3]}

-- Whether a task is a delivery of distpool's: other programs may use the queue.
local queue = string.match(ARGV[1], '{(.*)}')
local function ours(id)
  local msg = redis.call('HGET', ARGV[1] .. id, 'msg')
  return not msg or string.find(msg, '{"job":"' .. queue .. '/' .. string.match(id, '^[^:]*') .. '"', 1, true)
end

for i = 5, #ARGV do
  local id = ARGV[i]
  local state = redis.call('HGET', ARGV[1] .. id, 'state')
  if state == 'pending' then
    unwanted[id] = true
  elseif ARGV[4] == '1' and (state == 'archived' or not state) and ours(id) then
    removed = removed + redis.call('ZREM', KEYS[4], id)
    redis.call('DEL', ARGV[1] .. id)
  elseif sets[state] then
    redis.call('ZREM', sets[state], id)
    redis.call('DEL', ARGV[1] .. id)
    removed = removed + 1
  end
end

-- LREM searches from an end of the list, which may be long. So those that were found are
-- marked, and go with one search.
local marked, from, n = 0, tonumber(ARGV[2]), tonumber(ARGV[3])
local window = n > 0 and next(unwanted) and redis.call('LRANGE', KEYS[1], from, from + n - 1)
for i, id in ipairs(window or {}) do
  if unwanted[id] then
    local set = redis.pcall('LSET', KEYS[1], from + i - 1, '')
    if set.err then -- Redis is out of memory
      redis.call('LREM', KEYS[1], 1, id)
    else
      marked = marked + 1
    end
    redis.call('DEL', ARGV[1] .. id)
    unwanted[id] = nil
    removed = removed + 1
  end
end
if marked > 0 then
  if from > redis.call('LLEN', KEYS[1]) / 2 then
    marked = 0 - marked
  end
  redis.call('LREM', KEYS[1], marked, '')
end
local waiting = {}
for id in pairs(unwanted) do
  waiting[#waiting + 1] = id
end
return {removed, waiting}
