-- giveback: puts a delivery that was fetched back to the front of its queue, as asynq's
-- requeue does, and rings for it; and its chunk back into the record, if worker holds
-- it. It is for a server that holds all keys, not for a Cluster.
--
-- KEYS: 1 asynq's active list, 2 its leases (sorted set), 3 its pending list, 4 the
-- task (hash), 5 the queue's bell, 6 the job (hash), which is inline if it was begun.
-- ARGV: 1 asynq's task ID, 2 worker.
-- Reply: 1 given back, 0 it was not active.

local j = redis.pcall('HMGET', KEYS[6], 'inline', 'run')
if not j.err and j[1] == '1' and j[2] == ARGV[2] then
  redis.call('HSET', KEYS[6], 'run', '')
end
-- asynq v0.26, internal/rdb: requeueCmd
if redis.call('LREM', KEYS[1], 0, ARGV[1]) == 0 then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[4], 'state', 'pending')
redis.call('RPUSH', KEYS[5], '1')
redis.call('EXPIRE', KEYS[5], 10)
return 1
