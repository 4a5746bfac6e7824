-- Counts n tasks as processed, or as failed, for the day and in all. day is the date as
-- YYYY-MM-DD (UTC), expires when the day's count goes (Unix, s).
local function asynq_count(q, what, n, day, expires)
  local key = q .. what .. ':' .. day
  if redis.call('INCRBY', key, n) == n then
    redis.call('EXPIREAT', key, expires)
  end
  local total = redis.pcall('INCRBY', q .. what, n)
  if type(total) == 'table' then -- it would overflow
    redis.call('SET', q .. what, n)
  end
end
