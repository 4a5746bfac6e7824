-- Counts n tasks as processed, or as failed, for the day and in all. day is the date as
-- YYYY-MM-DD (UTC), expires the time at which the day's count goes (Unix, s). A counter that
-- is none begins anew.
local function asynq_count(q, what, n, day, expires)
  for _, key in ipairs({q .. what .. ':' .. day, q .. what}) do
    local now = redis.pcall('INCRBY', key, n)
    if type(now) == 'table' then
      redis.call('SET', key, n)
      now = n
    end
    if now == n and key ~= q .. what then
      redis.call('EXPIREAT', key, expires)
    end
  end
end
