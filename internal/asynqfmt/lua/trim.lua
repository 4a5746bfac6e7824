-- Removes archived tasks from before the given time (Unix, s), and the oldest beyond the
-- number that stays; up to most. Answers how many it removed.
local function asynq_trim(q, stay, since, most)
  local archived = q .. 'archived'
  local extra = math.max(redis.call('ZCARD', archived) - stay, redis.call('ZCOUNT', archived, '-inf', '(' .. since))
  local n = math.min(extra, most)
  if n <= 0 then
    return 0
  end
  local keys = redis.call('ZRANGE', archived, 0, n - 1)
  for i = 1, #keys do
    keys[i] = q .. 't:' .. keys[i]
  end
  redis.call('DEL', unpack(keys))
  redis.call('ZREMRANGEBYRANK', archived, 0, n - 1)
  return n
end
