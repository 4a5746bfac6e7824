-- unarchive: removes archived deliveries. Other programs may use the queue: tasks of theirs stay.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 how the payload of a delivery begins, up to the job's name, then the task IDs.
-- Reply: those that were removed.

local q = 'asynq:{' .. ARGV[1] .. '}:'
local removed = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local t = redis.call('HMGET', q .. 't:' .. id, 'state', 'msg')
  local ours = not t[2] or string.find(t[2], ARGV[2] .. string.match(id, '^[^:~]*') .. '"', 1, true)
  if ours and (t[1] == 'archived' or not t[1]) and asynq_unarchive(q, id) then
    removed[#removed + 1] = id
  end
end
return removed
