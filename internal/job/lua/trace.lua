-- trace: finds the deliveries to issue for chunks that wait without an owner.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each chunk the task ID of the first delivery to look for. Three with
-- the next numbers are looked for, too: there is seldom more than one.
-- Reply, for each chunk: the number of the delivery to issue; 0: one is on its way.

local q = 'asynq:{' .. ARGV[1] .. '}:'
local replies = {}

-- Since when the delivery is pending that is taken next, ns. The list is first in, first out, so
-- a delivery that became pending before that is not in it, as far as both times are by one clock.
-- If one of these is in the list, which takes Redis time in proportion to its length, the times of
-- the others say nothing. asynq does not say the time of a delivery that was given back.
local head = redis.call('LRANGE', q .. 'pending', -1, -1)[1]
local clocks_differ = 5e9
local oldest = (tonumber(head and redis.call('HGET', q .. 't:' .. head, 'pending_since') or '') or 0) - clocks_differ
local old_is_there

for i = 2, #ARGV do
  local chunk, first = string.match(ARGV[i], '^(.*:)(%d+)$')
  local number, coming = tonumber(first), false
  for n = number, number + 3 do
    local id = chunk .. n
    local t = redis.call('HMGET', q .. 't:' .. id, 'state', 'pending_since')
    local state, since, there = t[1], tonumber(t[2] or '') or 0, false
    if state == 'pending' and since > 0 and since < oldest then
      if old_is_there == nil then
        old_is_there = redis.call('LPOS', q .. 'pending', id) and true or false
      end
      there = old_is_there
    elseif state == 'pending' then
      there = head
    elseif state == 'active' then
      there = redis.call('LPOS', q .. 'active', id)
    elseif state == 'scheduled' or state == 'retry' then
      there = redis.call('ZSCORE', q .. state, id)
    end
    coming = coming or there
    if state and not there then -- archived, completed, or Redis has lost the list
      number = n + 1
    end
  end
  replies[i - 1] = coming and 0 or number
end
return replies
