-- consume: outcomes have reached the stream that wants them, and leave the record. The
-- counts stay.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the job's name, 3 gen, then for each chunk: its number, and which one of the
-- recorded chunks it was (the N of order:N).
-- Reply: how many of them had outcomes here.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local key = prefix .. 'job:' .. ARGV[2]
local j = redis.call('HMGET', key, 'frames', 'gen', 'reply')
if not j[3] or (j[2] or '') ~= ARGV[3] then
  return 0
end
local frames = j[1]
local removed = 0
for i = 4, #ARGV, 2 do
  local out, kept = 'out:' .. ARGV[i], 'kept:' .. ARGV[i]
  local size = redis.call('HSTRLEN', key, kept)
  if frames then
    local both = redis.call('HMGET', key, out, kept)
    frame_drop(prefix, ARGV[2], both[1])
    frame_drop(prefix, ARGV[2], both[2])
    size = tonumber(string.match(both[2] or '', '^@ %w+ (%d+)$') or size)
  end
  removed = removed + redis.call('HDEL', key, out)
  redis.call('HDEL', key, kept, 'order:' .. ARGV[i + 1])
  if size > 0 then
    redis.call('HINCRBY', key, 'kept', 0 - size)
  end
end
if removed > 0 then
  redis.call('HINCRBY', key, 'consumed', removed)
end
return removed
