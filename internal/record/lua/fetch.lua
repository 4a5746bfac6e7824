-- fetch: takes deliveries from the queues of a worker, as many as it has slots
-- free, and begins the chunks of those for which that is simple: asynq's dequeue
-- and begin in one. It is for a server that holds all keys, not for a Cluster.
--
-- KEYS: for each queue five: asynq's pending list, its mark of a pause, its active
-- list, its leases (sorted set); and the queue's bell.
-- ARGV: 1 worker, 2 how many deliveries, 3 when their leases run out (s), 4 how many
-- more where no worker of the queue is idle, then for each queue two: the prefix of asynq's task keys, and how many deliveries are its
-- share. What a queue does not have of its share goes to the others, in this order.
-- Reply: for each delivery an array: the index of its queue, from 0, its task ID
-- and asynq's message; and where the chunk was begun what begin answers: args, codec,
-- calls, task, policy, headers, big. It is then the first time that it runs.

local want = tonumber(ARGV[2])
local taken = {}
local now

-- Begins the only chunk of a job, if nothing about it asks for more thought: nobody
-- holds it, nobody died in it, no time limits it, and it has nothing saved.
local function begun(id)
  local job, gen = string.match(id, '^([^:]+):0:%d+(.*)$')
  if not job or gen ~= '' then
    return nil
  end
  local key = 'distpool:{' .. job .. '}'
  local j = redis.pcall('HMGET', key, 'state', 'inline', 'gen', 'expires', 'run', 'run:lost', 'run:part',
    'args', 'codec', 'calls', 'task', 'policy', 'headers', 'big')
  if j.err or j[1] ~= 'sealed' or j[2] ~= '1' or j[3] or j[4] or (j[5] and j[5] ~= '') or j[6] or j[7]
    or not (j[8] and j[9] and j[10] and j[11]) then
    return nil
  end
  now = now or now_ms()
  redis.call('HSET', key, 'run', ARGV[1], 'run:at', now)
  return j
end

local function take(q, n)
  local k, prefix = 5 * q, ARGV[5 + 2 * q]
  if n <= 0 or redis.call('EXISTS', KEYS[k + 2]) == 1 then
    return
  end
  for _ = 1, n do
    -- asynq v0.26, internal/rdb: dequeueCmd
    local id = redis.call('RPOPLPUSH', KEYS[k + 1], KEYS[k + 3])
    if not id then
      return
    end
    local key = prefix .. id
    redis.call('HSET', key, 'state', 'active')
    redis.call('HDEL', key, 'pending_since')
    redis.call('ZADD', KEYS[k + 4], ARGV[3], id)
    local msg = redis.call('HGET', key, 'msg')
    if msg then
      local j = begun(id)
      if j then
        taken[#taken + 1] = {q, id, msg, j[8], j[9], j[10], j[11], j[12] or '', j[13] or '', j[14] or ''}
      else
        taken[#taken + 1] = {q, id, msg}
      end
    end
  end
end

local queues = #KEYS / 5
for q = 0, queues - 1 do
  take(q, math.min(tonumber(ARGV[6 + 2 * q]), want - #taken))
end
if queues > 1 then -- an only queue's share is all
  for q = 0, queues - 1 do
    take(q, want - #taken)
  end
end
-- A ring that waits says that no worker listens for one.
local more = tonumber(ARGV[4])
if #taken == want and more > 0 then
  for q = 0, queues - 1 do
    if redis.call('EXISTS', KEYS[5 * q + 5]) == 1 then
      take(q, want + more - #taken)
    end
  end
end
-- What is left is for another worker: one was rung for each delivery only if no
-- ring was waiting. So whoever leaves something passes the ring on.
if #taken >= want then
  for q = 0, queues - 1 do
    local bell = KEYS[5 * q + 5]
    if redis.call('EXISTS', KEYS[5 * q + 1]) == 1 and redis.call('EXISTS', bell) == 0 then
      redis.call('RPUSH', bell, '1')
      redis.call('EXPIRE', bell, 10)
    end
  end
end
return taken
