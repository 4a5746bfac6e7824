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
-- calls, task, policy, headers; "1" if the job is inline; and big. It is then the
-- first time that it runs.

local want = tonumber(ARGV[2])
local taken = {}
local now
local maps = {} -- jobs of several chunks that have some here, by their key; false: left to begin
local order = {}

-- How many bytes of arguments of such jobs are begun here; more would hold up
-- everybody else. At least one chunk, whatever its size.
local room = 1048576

local function begun(d, j, args, inline)
  d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11] = args, j[5], j[6], j[7], j[8] or '', j[9] or '', inline, reads_large(j[2], j[14], j[15])
end

-- Begins the chunk of a delivery, if nothing about it asks for more thought: nobody
-- holds it, nobody died in it, no time limits its job, and it has nothing saved.
-- Those of jobs of several chunks are noted, and begun together by begin_noted.
local function begin(d, jobs)
  local job, chunk, gen = string.match(d[2], '^([^:]+):(%d+):%d+(.*)$')
  if not job or gen ~= '' then
    return
  end
  local key = jobs .. job
  local m = maps[key]
  if m == nil then
    local j = redis.pcall('HMGET', key, 'state', 'inline', 'gen', 'expires', 'codec', 'calls', 'task', 'policy', 'headers',
      'run', 'run:lost', 'run:part', 'args', 'big', 'v')
    if not j.err then
      j[5], j[6] = or_usual(j[2], j[5], 'json'), or_usual(j[2], j[6], '1')
    end
    if j.err or (j[1] ~= 'sealed' and j[1] ~= 'open') or j[3] or j[4] or not (j[5] and j[6] and j[7]) then
      maps[key] = false
      return
    end
    if j[2] == '1' then
      if chunk == '0' and (j[10] or '') == '' and not j[11] and not j[12] and j[13] then
        now = now or now_ms()
        redis.call('HSET', key, 'run', ARGV[1], 'run:at', now)
        begun(d, j, j[13], '1')
      end
      maps[key] = false -- another delivery of it comes too late
      return
    end
    m = {key = key, job = j, noted = {}, seen = {}}
    maps[key] = m
    order[#order + 1] = m
  end
  if m and not m.seen[chunk] then
    m.seen[chunk] = true
    m.noted[#m.noted + 1] = {d, chunk}
  end
end

-- Begins so many of a job's noted chunks, from the given one on. Returns the size of
-- the largest one; nil when the rest is left to begin.
local function begin_some(m, from, n)
  local ask, state = {}, {}
  for i = from, from + n - 1 do
    local chunk = m.noted[i][2]
    ask[#ask + 1] = chunk
    state[#state + 1] = chunk
    state[#state + 1] = chunk .. ':lost'
    state[#state + 1] = chunk .. ':part'
  end
  local args = redis.pcall('HMGET', m.key .. ':args', unpack(ask))
  state = redis.pcall('HMGET', m.key .. ':run', unpack(state))
  if args.err or state.err then
    return nil
  end
  local set, mine, largest = {}, {}, 1
  now = now or now_ms()
  for i = 1, n do
    if args[i] and (state[3 * i - 2] or '') == '' and not state[3 * i - 1] and not state[3 * i] then
      local k = #set
      set[k + 1], set[k + 2], set[k + 3], set[k + 4] = ask[i], ARGV[1], ask[i] .. ':at', now
      mine[#mine + 1] = i
      largest = math.max(largest, #args[i])
      room = room - #args[i]
    end
  end
  if #mine == 0 then
    return largest
  end
  local running = redis.pcall('HINCRBY', m.key, 'running', #mine)
  if type(running) == 'table' then -- damaged: begin says so
    return nil
  end
  redis.call('HSET', m.key .. ':run', unpack(set))
  for _, i in ipairs(mine) do
    begun(m.noted[from + i - 1][1], m.job, args[i], '')
  end
  m.held = true
  return largest
end

local function begin_noted(m)
  local from, n = 1, 1 -- by the first one it is seen how large they are
  while from <= #m.noted do
    local largest = begin_some(m, from, n)
    from = from + n
    if not largest or room < largest then
      break
    end
    n = math.min(#m.noted - from + 1, 500, math.floor(room / largest))
  end
  if m.held then
    local left = redis.call('PTTL', m.key)
    if left > 0 then
      redis.call('PEXPIRE', m.key .. ':run', left)
    end
  end
end

local function take(q, n)
  local k, prefix = 5 * q, ARGV[5 + 2 * q]
  if n <= 0 or redis.call('EXISTS', KEYS[k + 2]) == 1 then
    return
  end
  local before, jobs = #taken, 'distpool:' .. string.match(prefix, '{.*}') .. ':job:'
  for _ = 1, n + 1000 do -- some may have lost their task
    -- asynq v0.26, internal/rdb: dequeueCmd
    local id = redis.call('RPOPLPUSH', KEYS[k + 1], KEYS[k + 3])
    if not id then
      redis.call('DEL', KEYS[k + 5]) -- whatever was rung for is gone
      return
    end
    local key = prefix .. id
    redis.call('HSET', key, 'state', 'active')
    redis.call('HDEL', key, 'pending_since')
    redis.call('ZADD', KEYS[k + 4], ARGV[3], id)
    local msg = redis.call('HGET', key, 'msg')
    if msg then
      local d = {q, id, msg}
      taken[#taken + 1] = d
      begin(d, jobs)
      if #taken == before + n then
        return
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
for i = 1, #order do
  begin_noted(order[i])
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
