-- submit: a new job of one chunk that is known (inline), its delivery, and the
-- ring of the bell: create, asynq's enqueue and ring in one. It is for a server
-- that holds all keys, not for a Cluster.
--
-- KEYS: 1 the job, 2 asynq's task (hash), 3 asynq's pending list, 4 the queue's bell,
-- 5 asynq's queues (set).
-- ARGV: 1 time to live while open (ms), 2 how soon it must begin (ms; 0: no limit),
-- 3 asynq's message, 4 asynq's task ID, 5 now (ns), then pairs of field and value
-- of the job hash, of which the arguments are the last, or the reference to large ones.
-- Reply: 1 created; 0 the ID exists already, and the job was not changed.
--
-- What follows from the job's being inline is left out of the hash: its number of
-- chunks is 1, and counts that are not there are 0. So is what is as usual: short.go.

local frames = string.byte(ARGV[#ARGV], 1, 1) == 64 and large()
local problem = frames and frames.absent(ARGV[#ARGV])
if problem then
  return problem
end
local created = 0
if redis.call('EXISTS', KEYS[1]) == 0 then
  local now = now_ms()
  redis.call('HSET', KEYS[1], 'created', now, unpack(ARGV, 6))
  if ARGV[2] ~= '0' then
    redis.call('HSET', KEYS[1], 'expires', now + ARGV[2])
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  if frames then
    frames.adopt(ARGV[#ARGV], 'args', ARGV[1])
  end
  created = 1
elseif frames then
  frames.spurn(ARGV[#ARGV])
end
-- asynq v0.26, internal/rdb: enqueueCmd
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[2], 'msg', ARGV[3], 'state', 'pending', 'pending_since', ARGV[5])
  if redis.call('LPUSH', KEYS[3], ARGV[4]) == 1 then
    -- The first in its queue names it, each time: the server may have come back empty.
    redis.call('SADD', KEYS[5], string.match(KEYS[3], '^asynq:{(.+)}:pending$'))
  end
end
-- A ring that waits says that no worker listens: one that is about to will hear it.
if redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('RPUSH', KEYS[4], '1')
  redis.call('EXPIRE', KEYS[4], 10)
end
return created
