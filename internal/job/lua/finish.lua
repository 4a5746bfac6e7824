-- finish: records the outcomes of chunks, or gives chunks back, and ends their deliveries.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 worker, 3 the date (YYYY-MM-DD, UTC), 4 when that day's counters go
-- (Unix, s), 5 the largest outcomes that travel in notices, in bytes, 6 the command that
-- publishes, 7 how many entries, then for each entry: what, asynq's task ID (of a delivery that an
-- asynq.Server has taken: that of the next one, which a "return" makes), the job's name, gen, chunk,
-- the delivery's number, and
--   "record"   framed outcomes (or the reference to a large frame), calls of the chunk, failed calls, the slowest call as
--              "MS CALL" or "", and asynq's message if calls failed: then the delivery is
--              archived with it
--   "return"   the worker gives the chunk back: what it has of it ("" for nothing; or the
--              reference to a large frame), how many calls that finishes, where the delivery
--              goes ("head" or "tail" of pending; or a time, Unix s: into retry), and asynq's
--              message
--   "dismiss"  the task is no delivery, or its job is damaged: asynq's message with the error,
--              with which it is archived. Name, gen, chunk and number are not looked at
-- Reply, for each entry: "ok"; or, with the job unchanged, "recorded", "canceled", "gone",
-- "damaged" (the job's record). The delivery is off active then, and the entry can be sent
-- twice. Nothing at all is changed with "unstored", a large frame is not there, and "lost",
-- the worker that returns the chunk does not own it by this delivery.

local q, prefix = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local now_ms = string.format('%.0f', now) -- Lua is slow when it has to make a number a string
local inline = tonumber(ARGV[5])
local ids, done, archived = {}, {}, 0
local notices, replies = {}, {}
local chunk, args_of, own_of, lost_of, part_of, counted_of, out_of -- the fields of one chunk
local i = 8

local function has(key, kind, chunk)
  return redis.call('HEXISTS', key, kind .. ':' .. chunk) == 1
end

-- Whether the counts of a job whose chunks are all known contradict its chunks, of which recorded have
-- outcomes: then it would never be over, or too early. Looked at with its first and its last recording.
local function contradicts(key, chunks, recorded)
  local last = chunks - 1
  return recorded == 0 and not (has(key, 'args', last) or has(key, 'own', last) or has(key, 'out', last))
    or recorded == last and (has(key, 'args', chunks) or has(key, 'own', chunks)
      or last > 0 and not has(key, 'order', 0) and redis.call('HEXISTS', key, 'consumed') == 0)
end

-- The outcomes are in the job, and are counted. Answers the state of the job after that.
local function record(key, name, j, frame, calls, failed, slow)
  local state, multi = j[3] or 'sealed', j[5]
  local large = frame_is(frame)
  if large and not frame_there(prefix, name, frame) then
    return 'unstored'
  end
  if multi and state == 'sealed' and contradicts(key, tonumber(multi), tonumber(j[10] or 0)) then
    return 'damaged'
  end
  local failures = failed ~= '0'
  local args = (failures or j[9]) and redis.call('HGET', key, args_of)
  local part = j[9] and redis.call('HGET', key, part_of)
  if redis.call('HDEL', key, args_of, own_of, lost_of, part_of, counted_of) == 0 then
    return 'recorded'
  end
  local recorded, total, bad, running = '1', calls, failed, '0'
  if multi then
    recorded = redis.call('HINCRBY', key, 'recorded', 1)
    total = redis.call('HINCRBY', key, 'done', calls - (j[7] or 0))
    bad = failures and redis.call('HINCRBY', key, 'failed', failed) or j[6] or 0
    running = j[8] and redis.pcall('HINCRBY', key, 'running', -1) or 0
    running = tonumber(running) or 0
    redis.call('HSET', key, out_of, frame, 'order:' .. (recorded - 1), chunk)
    if state == 'sealed' and recorded == tonumber(multi) then
      state = 'done'
      redis.call('HSET', key, 'state', state, 'finished', now_ms)
    end
  else
    state = 'done'
    redis.call('HSET', key, out_of, frame, 'state', state, 'finished', now_ms, 'begun', string.match(j[8] or '', ' (%d+) ') or '0')
    if failures then
      redis.call('HSET', key, 'failed', failed)
    end
  end
  local spent = j[9] and args and frame_is(args)
  if failures and keep(key, chunk, args or '') then
    spent = false
  end
  if spent then
    frame_drop(prefix, name, args)
  end
  if part and frame_is(part) then
    frame_drop(prefix, name, part)
  end
  if large then
    frame_adopt(prefix, name, frame, redis.call('PTTL', key), now)
  end
  if slow ~= '' then
    note_slow(key, slow .. ' ' .. ARGV[2])
  end
  if state == 'done' then
    local ttl = lifetime(j[4])
    live(prefix, name, ttl, multi)
    if j[9] or large then
      frames_expire(prefix, name, ttl, now)
    end
  end
  local what = 'out'
  if large or #frame > inline then
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
  local what, id, name, gen, number = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 5]
  if ARGV[i + 4] ~= chunk then
    chunk = ARGV[i + 4]
    args_of, own_of, lost_of, part_of = 'args:' .. chunk, 'own:' .. chunk, 'lost:' .. chunk, 'part:' .. chunk
    counted_of, out_of = 'counted:' .. chunk, 'out:' .. chunk
  end
  local key = prefix .. 'job:' .. name
  local j = what ~= 'dismiss' and redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'ttl', 'chunks', 'failed', counted_of,
    own_of, 'frames', 'recorded', 'done', 'kept') or {}
  local answer
  if what == 'dismiss' then
    answer = 'ok'
  elseif j.err or not (counts(j[5]) and counts(j[6]) and counts(j[7]) and counts(j[10]) and counts(j[11]) and counts(j[12])) then
    answer = 'damaged'
  elseif not j[1] or (j[2] or '') ~= gen then
    answer = 'gone'
  elseif j[3] == 'canceled' then
    answer = 'canceled'
  elseif j[3] == 'done' then
    answer = 'recorded'
  elseif j[3] and j[3] ~= 'open' or not j[3] and j[5] and tonumber(j[10] or 0) >= tonumber(j[5]) or not j[5] and (j[3] or j[10]) then
    answer = 'damaged'
  elseif what == 'record' then
    answer = record(key, name, j, ARGV[i + 6], ARGV[i + 7], ARGV[i + 8], ARGV[i + 9])
  elseif not j[8] or string.match(j[8], '^%S+') ~= ARGV[2] or string.match(j[8], '%d+$') ~= number then
    answer = 'lost'
  elseif ARGV[i + 6] ~= '' and not save_part(prefix, key, name, chunk, ARGV[i + 6], j[9], now) then
    answer = 'unstored'
  else
    answer = 'ok'
    redis.call('HDEL', key, own_of)
    if j[5] then
      redis.pcall('HINCRBY', key, 'running', -1)
    end
    if ARGV[i + 6] ~= '' then
      redis.call('HSET', key, counted_of, ARGV[i + 7])
      if j[5] then
        redis.call('HINCRBY', key, 'done', ARGV[i + 7] - (j[7] or 0))
      end
    end
  end
  local msg = what == 'record' and ARGV[i + 10] or what == 'dismiss' and ARGV[i + 6] or ''
  if answer ~= 'unstored' and answer ~= 'lost' then
    local here = asynq_retire(q, id)
    ids[#ids + 1] = id
    if answer == 'ok' and what == 'return' then
      -- Where asynq's recoverer has moved it, it waits already.
      if here or redis.call('EXISTS', q .. 't:' .. id) == 0 then
        asynq_return(q, id, ARGV[i + 8], ARGV[i + 9])
      end
    elseif here and answer == 'ok' and msg ~= '' then
      asynq_archive(q, id, msg, t[1])
      archived = archived + 1
    elseif here then
      done[#done + 1] = id
    end
  end
  replies[e] = answer
  i = i + (what == 'record' and 11 or what == 'return' and 10 or 7)
end

asynq_unlease(q, ids)
asynq_delete(q, done, ARGV[3], ARGV[4])
if archived > 0 then
  asynq_count(q, 'processed', archived, ARGV[3], ARGV[4])
  asynq_count(q, 'failed', archived, ARGV[3], ARGV[4])
end
for pool, of in pairs(notices) do
  tell(ARGV[6], prefix .. 'reply:' .. pool, table.concat(of))
end
return replies
