-- forget: removes every trace of jobs but their deliveries. A job that is not over is
-- canceled by that: its pool and the workers are told.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the command that publishes, then for each job: name, gen ("*": whatever it
-- is).
-- Reply, for each job: the state that it was in, "damaged" or "gone".

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local replies = {}
for i = 3, #ARGV, 2 do
  local name = ARGV[i]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'ttl', 'recorded', 'done', 'failed', 'frames', 'state')
  local answer = j[8] or 'sealed'
  if j.err then
    answer = 'damaged'
    redis.call('UNLINK', key)
  elseif not j[1] or (ARGV[i + 1] ~= '*' and ARGV[i + 1] ~= (j[2] or '')) then
    answer = 'gone'
  else
    if answer == 'sealed' or answer == 'open' then
      end_job(prefix, name, j, 'forgotten', ARGV[2])
    end
    if j[7] then
      for _, token in ipairs(redis.call('SMEMBERS', prefix .. 'frames:' .. name)) do
        redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. token)
      end
    end
    redis.call('UNLINK', key, prefix .. 'frames:' .. name)
  end
  replies[#replies + 1] = answer
end
return replies
