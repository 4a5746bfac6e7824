-- trace: finds the deliveries to issue for chunks that wait without an owner.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each chunk the task ID of the first delivery to look for. Three with
-- the next numbers are looked for, too: there is seldom more than one.
-- Reply, for each chunk: the number of the delivery to issue; 0: one is on its way.

local q = 'asynq:{' .. ARGV[1] .. '}:'
local replies, older, active = {}, {}, nil

-- Since when the delivery is pending that is taken next, ns. The list is first in, first out, so
-- a delivery that became pending before that is not in it, as far as both times are by one clock.
-- asynq does not say it of one that was given back.
local head = redis.call('LRANGE', q .. 'pending', -1, -1)[1]
local clocks_differ = 5e9
local oldest = (tonumber(head and redis.call('HGET', q .. 't:' .. head, 'pending_since') or '') or 0) - clocks_differ

for i = 2, #ARGV do
  local chunk, first = string.match(ARGV[i], '^(.*:)(%d+)$')
  local number, coming = tonumber(first), false
  for n = number, number + 3 do
    local id = chunk .. n
    local t = redis.call('HMGET', q .. 't:' .. id, 'state', 'pending_since')
    local state, there = t[1], true
    if state == 'archived' or state == 'completed' then
      there = false
    elseif state == 'pending' then
      local since = tonumber(t[2] or '') or 0
      there = head
      if head and since > 0 and since < oldest then
        older[#older + 1] = {i - 1, n, id}
        state = nil
      end
    elseif state == 'active' then
      if not active then
        active = {}
        for _, its in ipairs(redis.call('LRANGE', q .. 'active', 0, -1)) do
          active[its] = true
        end
      end
      there = active[id]
    elseif state then
      there = redis.call('ZSCORE', q .. state, id)
    end
    if state and there then
      coming = true
    elseif state then
      number = n + 1
    end
  end
  replies[i - 1] = coming and 0 or number
end

-- Their times may be by another clock than that of the head. If the first one is in the list,
-- which takes Redis time in proportion to its length, the times of the others say nothing.
local lost = older[1] and not redis.call('LPOS', q .. 'pending', older[1][3])
for _, it in ipairs(older) do
  local i, n = it[1], it[2]
  if not lost then
    replies[i] = 0
  elseif replies[i] ~= 0 then
    replies[i] = math.max(replies[i], n + 1)
  end
end
return replies
