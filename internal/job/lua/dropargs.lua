-- dropargs: removes the arguments of chunks of a job that was canceled. No chunk of it is run.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the job's name, 3 gen, then the chunks.
-- Reply: how many chunks had some.

local prefix, name, fields = 'distpool:{' .. ARGV[1] .. '}:', ARGV[2], {}
local key = prefix .. 'job:' .. name
for i = 4, #ARGV do
  fields[i - 3] = 'args:' .. ARGV[i]
end
local j = redis.pcall('HMGET', key, 'gen', 'state', 'frames')
if j.err or (j[1] or '') ~= ARGV[3] or j[2] ~= 'canceled' then
  return 0
end
if j[3] then
  for _, args in ipairs(redis.call('HMGET', key, unpack(fields))) do
    frame_drop(prefix, name, args)
  end
end
return redis.call('HDEL', key, unpack(fields))
