-- giveback: puts a delivery that was fetched and not begun back to the front of its
-- queue, as asynq's requeue does, and rings for it.
--
-- KEYS: 1 asynq's active list, 2 its leases (sorted set), 3 its pending list, 4 the
-- task (hash), 5 the queue's bell.
-- ARGV: 1 asynq's task ID.
-- Reply: 1 given back, 0 it was not active.

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
