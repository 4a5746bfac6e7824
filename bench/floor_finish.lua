-- KEYS: 1 active, 2 lease, 3 asynq's prefix of the queue, 4 the day's counter. ARGV: 1 when that
-- goes (s), 2 how long values stay (ms), 3 the prefix of jobs, 4 how many, then for each: task
-- ID, value.
local call = redis.call
local n = tonumber(ARGV[4])
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ids, keys, notices = {}, {}, {}
local i = 5
for k = 1, n do
  local id = ARGV[i]
  local name = string.sub(id, 1, -5)
  local job = ARGV[3] .. name
  local j = call('HMGET', job, 'state', 'reply', 'ttl', 'run')
  if j[1] == 'sealed' then
    call('HSET', job, 'state', 'done', 'finished', now, 'out', ARGV[i + 1])
    call('HDEL', job, 'args', 'run', 'run:at')
    call('PEXPIRE', job, ARGV[2])
    local of = notices[j[2]]
    if not of then
      of = {}
      notices[j[2]] = of
    end
    of[#of + 1] = name .. ' ' .. ARGV[i + 1] .. '\n'
  end
  call('LREM', KEYS[1], -1, id)
  ids[k], keys[k] = id, KEYS[3] .. 't:' .. id
  i = i + 2
end
call('ZREM', KEYS[2], unpack(ids))
call('DEL', unpack(keys))
call('INCRBY', KEYS[3] .. 'processed', n)
if call('INCRBY', KEYS[4], n) == n then
  call('EXPIREAT', KEYS[4], ARGV[1])
end
for channel, of in pairs(notices) do
  call('PUBLISH', channel, table.concat(of))
end
return n
