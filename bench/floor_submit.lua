-- KEYS: 1 pending. ARGV: 1 now (ns), 2 life of a job (ms), 3 asynq's prefix of the queue, 4 the
-- prefix of jobs, 5 how many calls, then for each: name, message, argument, reply channel.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ids = {}
local i = 6
for _ = 1, tonumber(ARGV[5]) do
  local name = ARGV[i]
  local key, id = ARGV[4] .. name, name .. ':0:1'
  if call('EXISTS', key) == 0 then
    call('HSET', key, 'created', now, 'task', 'square', 'state', 'sealed', 'reply', ARGV[i + 3], 'ttl', 600000, 'args', ARGV[i + 2])
    call('PEXPIRE', key, ARGV[2])
    call('HSET', ARGV[3] .. 't:' .. id, 'msg', ARGV[i + 1], 'state', 'pending', 'pending_since', ARGV[1])
    ids[#ids + 1] = id
  end
  i = i + 4
end
call('LPUSH', KEYS[1], unpack(ids))
return #ids
