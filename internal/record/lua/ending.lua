-- Shared by finish and finish_inline.

-- What asynq's done does (asynq v0.26, internal/rdb: doneCmd), to a delivery that
-- may be over already. from is the index of the first of five keys: asynq's active
-- list, its leases (sorted set), the task (hash), its counters of processed tasks, of
-- the day and in all. expires is when the day's goes (s).
local function end_delivery(from, id, expires)
  if redis.call('LREM', KEYS[from], 0, id) == 0 or redis.call('ZREM', KEYS[from + 1], id) == 0
    or redis.call('DEL', KEYS[from + 2]) == 0 then
    return
  end
  if redis.call('INCR', KEYS[from + 3]) == 1 then
    redis.call('EXPIREAT', KEYS[from + 3], expires)
  end
  local total = redis.pcall('INCR', KEYS[from + 4])
  if type(total) == 'table' and total.err then -- it is full
    redis.call('SET', KEYS[from + 4], 1)
  end
end
