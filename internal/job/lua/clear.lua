-- clear: chunks of canceled jobs will never run, and leave their arguments.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each chunk: the job's name, gen, and the chunk's number.
-- Reply: how many of them had arguments, or what a checkpoint had saved.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local cleared, last, j = 0, nil, nil
for i = 2, #ARGV, 3 do
  local name = ARGV[i]
  local key = prefix .. 'job:' .. name
  if name ~= last then
    j, last = redis.pcall('HMGET', key, 'state', 'gen', 'frames'), name
  end
  if not j.err and j[1] == 'canceled' and (j[2] or '') == ARGV[i + 1] then
    local args, part = 'args:' .. ARGV[i + 2], 'part:' .. ARGV[i + 2]
    if j[3] then
      for _, frame in ipairs(redis.call('HMGET', key, args, part)) do
        if frame and frame_is(frame) then
          frame_drop(prefix, name, frame)
        end
      end
    end
    cleared = cleared + redis.call('HDEL', key, args, part)
  end
end
return cleared
