-- finish: records the outcomes of chunks, or gives chunks back, and ends their deliveries.
--
-- KEYS: 1 asynq's pending list of the lane, which names the slot.
-- ARGV: 1 lane, 2 worker, 3 the date (YYYY-MM-DD, UTC), 4 when that day's counters go
-- (Unix, s), 5 up to how many bytes outcomes travel in notices, 6 the command that
-- publishes, 7 how many entries, then for each entry: what, asynq's task ID, the job's name,
-- gen, chunk, and
--   "record"   framed outcomes (or the reference to a large frame), calls of the chunk, failed calls, the slowest call as
--              "MS CALL" or "", and asynq's message if calls failed: then the delivery is
--              archived with it
--   "return"   the worker gives the chunk back: what it has of it ("" for nothing), how many
--              calls that finishes, where the delivery goes ("head" or "tail" of pending; or
--              a time, Unix s: into retry), and asynq's message with the error in that case
-- Reply, for each entry: "ok"; or, with the job unchanged, "recorded", "canceled", "gone",
-- "lost" (return: the chunk is not this worker's), "damaged" (the job's record). The delivery
-- is off active then, and the entry can be sent twice. With "unstored", a large frame is not
-- there, nothing is changed at all.

local q, prefix = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local inline = tonumber(ARGV[5])
local ids, done, archived = {}, {}, 0
local notices, replies = {}, {}
local i = 8

-- The outcomes are in the job, and are counted. Answers the state of the job after that.
local function record(key, name, chunk, j, frame, calls, failed, slow)
  local state, multi = j[3] or 'sealed', j[5]
  local token = frame_token(frame)
  if token and redis.call('EXISTS', prefix .. 'frame:' .. name .. ':' .. token) == 0 then
    return 'unstored'
  end
  local args = (failed > 0 or j[9]) and redis.call('HGET', key, 'args:' .. chunk)
  if redis.call('HDEL', key, 'args:' .. chunk, 'own:' .. chunk, 'lost:' .. chunk, 'part:' .. chunk, 'counted:' .. chunk) == 0 then
    return 'recorded'
  end
  local recorded, total, bad, running = 1, calls, failed, 0
  if multi then
    recorded = redis.call('HINCRBY', key, 'recorded', 1)
    total = redis.call('HINCRBY', key, 'done', calls - (j[7] or 0))
    bad = failed > 0 and redis.call('HINCRBY', key, 'failed', failed) or j[6] or 0
    running = j[8] and redis.call('HINCRBY', key, 'running', -1) or 0
    redis.call('HSET', key, 'out:' .. chunk, frame, 'order:' .. (recorded - 1), chunk)
    if state == 'sealed' and recorded == tonumber(multi) then
      state = 'done'
      redis.call('HSET', key, 'state', state, 'finished', now)
    end
  else
    state = 'done'
    redis.call('HSET', key, 'out:' .. chunk, frame, 'state', state, 'finished', now)
    if failed > 0 then
      redis.call('HSET', key, 'failed', failed)
    end
  end
  local spent = j[9] and args and frame_token(args)
  if failed > 0 and args and keep(key, chunk, args) then
    spent = nil
  end
  if spent then
    frame_drop(prefix, name, spent)
  end
  if token then
    frame_adopt(prefix, name, token, redis.call('PTTL', key))
  end
  if slow ~= '' then
    note_slow(key, slow .. ' ' .. ARGV[2])
  end
  if state == 'done' then
    local ttl = tonumber(j[4]) or 3600000
    redis.call('PEXPIRE', key, ttl)
    if j[9] or token then
      frames_expire(prefix, name, ttl)
    end
  end
  local what = 'out'
  if #frame > inline then
    what, frame = 'rec', ''
  end
  local of = notices[j[1]]
  if not of then
    of = {}
    notices[j[1]] = of
  end
  of[#of + 1] = name .. ' ' .. (j[2] or '') .. ' ' .. what .. ' ' .. chunk .. ' ' .. recorded .. ' ' .. total .. ' ' .. bad .. ' '
    .. running .. ' ' .. state .. ' ' .. #frame .. '\n' .. frame .. '\n'
  return 'ok'
end

for e = 1, tonumber(ARGV[7]) do
  local what, id, name, gen, chunk = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'ttl', 'chunks', 'failed', 'counted:' .. chunk, 'own:' .. chunk, 'frames')
  local answer
  if j.err then
    answer = 'damaged'
  elseif not j[1] or (j[2] or '') ~= gen then
    answer = 'gone'
  elseif j[3] == 'canceled' then
    answer = 'canceled'
  elseif j[3] == 'done' then
    answer = 'recorded'
  elseif what == 'record' then
    answer = record(key, name, chunk, j, ARGV[i + 5], tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), ARGV[i + 8])
  elseif not j[8] or string.match(j[8], '^%S*') ~= ARGV[2] then
    answer = 'lost'
  else
    answer = 'ok'
    redis.call('HDEL', key, 'own:' .. chunk)
    if j[5] then
      redis.call('HINCRBY', key, 'running', -1)
    end
    if ARGV[i + 5] ~= '' then
      redis.call('HSET', key, 'part:' .. chunk, ARGV[i + 5], 'counted:' .. chunk, ARGV[i + 6])
      if j[5] then
        redis.call('HINCRBY', key, 'done', ARGV[i + 6] - (j[7] or 0))
      end
    end
  end
  if answer ~= 'unstored' and asynq_retire(q, id) then
    ids[#ids + 1] = id
    if answer == 'ok' and what == 'return' then
      asynq_return(q, id, ARGV[i + 7], ARGV[i + 8])
    elseif answer == 'ok' and ARGV[i + 9] ~= '' then
      asynq_archive(q, id, ARGV[i + 9], t[1])
      archived = archived + 1
    else
      done[#done + 1] = id
    end
  end
  replies[e] = answer
  i = i + (what == 'record' and 10 or 9)
end

asynq_unlease(q, ids)
asynq_delete(q, done, ARGV[3], ARGV[4])
if archived > 0 then
  asynq_count(q, 'processed', archived, ARGV[3], ARGV[4])
  asynq_count(q, 'failed', archived, ARGV[3], ARGV[4])
end
for pool, of in pairs(notices) do
  -- A user of Redis without the right to publish still gets outcomes: by polling.
  redis.pcall(ARGV[6], prefix .. 'reply:' .. pool, table.concat(of))
end
return replies
