-- giveback: puts a delivery that was fetched back to the front of its queue, as asynq's
-- requeue does, and rings for it; and its chunk back into the record, if worker holds
-- it. It is for a server that holds all keys, not for a Cluster.
--
-- KEYS: 1 asynq's active list, 2 its leases (sorted set), 3 its pending list, 4 the
-- task (hash), 5 the queue's bell, 6 the job (hash), 7 its run state (hash).
-- ARGV: 1 asynq's task ID, 2 worker, 3 the chunk; "" to leave its owner as it is.
-- Reply: 1 given back, 0 it was not active.

if ARGV[3] ~= '' then
  local inline = redis.pcall('HGET', KEYS[6], 'inline') == '1'
  local key, field = KEYS[7], ARGV[3]
  if inline then
    key, field = KEYS[6], 'run'
  end
  if redis.pcall('HGET', key, field) == ARGV[2] then
    redis.call('HSET', key, field, '')
    if not inline then
      redis.pcall('HINCRBY', KEYS[6], 'running', -1)
    end
  end
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
