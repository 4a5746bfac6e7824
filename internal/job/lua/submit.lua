-- submit: creates jobs, adds chunks to open ones, and hands their deliveries to asynq.
--
-- KEYS: 1 asynq's pending list of the lane, which names the slot.
-- ARGV: 1 lane, 2 how many entries, then for each entry:
--   what       the state of the job after this entry, "sealed" or "open", with "new " before it
--              if the entry creates the job; otherwise it adds chunks to an open one
--   name, gen
--   life       how long the record lives while the job is not over, ms; "0" leaves that as it is
--   within     new: it is canceled unless a chunk begins within this time, ms; "0": no limit
--   fields     how many pairs of field and value follow
--   chunks     how many chunks follow, each as: number, framed arguments, asynq's task ID,
--              asynq's message, and when it is due (Unix, s; "" is now). Without a task ID
--              the chunk gets no delivery here
-- Reply, for each entry: "unstored" if a large frame among its arguments is not there (see
-- frames); "sealed" or "open", where the job was created or grew; "exists" for a
-- new job whose name is taken; and where a job does not grow why: "sealed", since it has all
-- its chunks, "done", "canceled" or "gone". Sent twice, an entry changes nothing.

local q, prefix = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local now_ns = t[1] .. string.format('%06d', t[2]) .. '000'
local replies, pending = {}, {}
local i = 3

for e = 1, tonumber(ARGV[2]) do
  local what, name, gen, life = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = prefix .. 'job:' .. name
  local fields = i + 6
  local chunks = fields + 2 * ARGV[i + 5]
  local last = chunks + 5 * ARGV[chunks]
  local answer, known, tokens = what, 0, nil
  for c = chunks + 1, last, 5 do
    local token = frame_token(ARGV[c + 1])
    if token then
      tokens = tokens or {}
      tokens[c] = token
      if redis.call('EXISTS', prefix .. 'frame:' .. name .. ':' .. token) == 0 then
        answer, known = 'unstored', math.huge
      end
    end
  end
  local new = string.match(what, '^new (.*)')
  if answer == 'unstored' then
    life = '0'
  elseif new then
    answer = new
    if redis.call('EXISTS', key) == 1 then
      answer, known, life = 'exists', math.huge, '0'
    else
      redis.call('HSET', key, 'created', now, unpack(ARGV, fields, chunks - 1))
      if gen ~= '' then
        redis.call('HSET', key, 'gen', gen)
      end
      if ARGV[i + 4] ~= '0' then
        redis.call('HSET', key, 'expires', string.format('%.0f', now + ARGV[i + 4]))
      end
    end
  else
    local j = redis.call('HMGET', key, 'reply', 'gen', 'state', 'chunks')
    if not j[1] or (j[2] or '') ~= gen then
      answer, known, life = 'gone', math.huge, '0'
    elseif j[3] ~= 'open' then
      answer, known = j[3] or 'sealed', math.huge
      if j[3] then
        life = '0'
      end
    else
      known = tonumber(j[4])
      redis.call('HSET', key, unpack(ARGV, fields, chunks - 1))
      if what == 'sealed' then
        redis.call('HDEL', key, 'state')
      end
    end
  end
  for c = chunks + 1, last, 5 do
    if tonumber(ARGV[c]) >= known then
      local id, at = ARGV[c + 2], ARGV[c + 4]
      redis.call('HSET', key, 'args:' .. ARGV[c], ARGV[c + 1])
      if tokens and tokens[c] then
        frame_adopt(prefix, name, tokens[c], life == '0' and redis.call('PTTL', key) or life)
      end
      if at ~= '' then
        asynq_schedule(q, id, ARGV[c + 3], at)
      elseif id ~= '' then
        asynq_enqueue(q, id, ARGV[c + 3], now_ns)
        pending[#pending + 1] = id
      end
    end
  end
  if life ~= '0' then
    redis.call('PEXPIRE', key, life)
  end
  replies[e] = answer
  i = last + 1
end
asynq_push(q, pending)
return replies
