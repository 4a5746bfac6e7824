-- finish: records the outcomes of a chunk, and ends its delivery: record and asynq's
-- done in one, for a chunk without failures. It is for a server that holds all keys,
-- not for a Cluster.
--
-- KEYS: 1-5 the job, 6 asynq's active list, 7 its leases (sorted set), 8 the task
-- (hash), 9 and 10 its counters of processed tasks, of the day and in all.
-- ARGV: 1-8 see recording.lua, 9 asynq's task ID, 10 when the day's counter goes (s).
-- Reply: record's. Whatever it is, the delivery has nothing left to do.

local answer = recording()
-- asynq v0.26, internal/rdb: doneCmd
if redis.call('LREM', KEYS[6], 0, ARGV[9]) == 0 or redis.call('ZREM', KEYS[7], ARGV[9]) == 0
  or redis.call('DEL', KEYS[8]) == 0 then
  return answer
end
if redis.call('INCR', KEYS[9]) == 1 then
  redis.call('EXPIREAT', KEYS[9], ARGV[10])
end
if redis.call('GET', KEYS[10]) == '9223372036854775807' then
  redis.call('SET', KEYS[10], 1)
else
  redis.call('INCR', KEYS[10])
end
return answer
