-- dropargs: removes the arguments of chunks of jobs that were canceled. No chunk of them is run.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each job: name, gen, how many chunks, and their numbers.
-- Reply: how many chunks had some.

local prefix, dropped = 'distpool:{' .. ARGV[1] .. '}:', 0
local i = 2
while ARGV[i] do
  local name, fields = ARGV[i], {}
  local key = prefix .. 'job:' .. name
  local last = i + 2 + ARGV[i + 2]
  for k = i + 3, last do
    fields[#fields + 1] = 'args:' .. ARGV[k]
  end
  local j = redis.pcall('HMGET', key, 'gen', 'state', 'frames')
  if not j.err and (j[1] or '') == ARGV[i + 1] and j[2] == 'canceled' then
    if j[3] then
      for _, args in ipairs(redis.call('HMGET', key, unpack(fields))) do
        frame_drop(prefix, name, args)
      end
    end
    dropped = dropped + redis.call('HDEL', key, unpack(fields))
  end
  i = last + 1
end
return dropped
