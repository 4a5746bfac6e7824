-- KEYS: 1 pending, 2 active, 3 paused, 4 lease. ARGV: 1 how many, 2 when the leases end (s), 3
-- asynq's prefix of the queue, 4 the prefix of jobs, 5 a task that is in active already.
-- Reply: task IDs and arguments.
local call = redis.call
if call('EXISTS', KEYS[3]) == 1 then
  return {}
end
local ids = ARGV[5] and {ARGV[5]} or call('RPOP', KEYS[1], ARGV[1])
if not ids then
  return {}
end
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local leases, taken = {}, {}
for k = 1, #ids do
  local id = ids[k]
  local job = ARGV[4] .. string.sub(id, 1, -5)
  leases[2 * k - 1], leases[2 * k] = ARGV[2], id
  call('HSET', ARGV[3] .. 't:' .. id, 'state', 'active')
  local j = call('HMGET', job, 'state', 'args', 'task', 'run')
  call('HSET', job, 'run', 'w', 'run:at', now)
  taken[2 * k - 1], taken[2 * k] = id, j[2]
end
if not ARGV[5] then
  call('LPUSH', KEYS[2], unpack(ids))
end
call('ZADD', KEYS[4], unpack(leases))
return taken
