-- Shared by record and finish; prepended to both, behind common.lua.
--
-- ARGV of both: 1 chunk, 2 framed outcomes, or the reference to large ones, 3 calls in it, 4 failed calls in it, 5
-- largest outcome (bytes) that travels inside the notice, 6 the job's generation,
-- 7 how long its slowest call took (ms; "" if nobody measured), 8 "<call> <worker>".

-- Large frames are met if the outcomes are, or the job has some (then j[13]).
local apart = string.byte(ARGV[2], 1, 1) == 64

local function traveling()
  if apart then
    return 'rec', ARGV[2] -- who hears of it need not look it up
  end
  if #ARGV[2] > tonumber(ARGV[5]) then
    return 'rec', ''
  end
  return 'out', ARGV[2]
end

-- The same as below for the commonest job, which is one hash, in fewer commands.
local function record_inline(j)
  local failed, args = tonumber(ARGV[4]), nil
  if failed > 0 then
    args = redis.call('HGET', KEYS[1], 'args')
  elseif j[13] then
    args = large().reference(KEYS[1], 'args')
  end
  local state, recorded = j[1], (tonumber(j[9]) or 0) + 1
  if state ~= 'sealed' or recorded ~= tonumber(j[3] or '1') then
    return redis.error_reply('DAMAGED corrupt: fields state, chunks and recorded of a single chunk without outcomes are "'
      .. state .. '", "' .. tostring(j[3]) .. '" and "' .. tostring(j[9]) .. '"')
  end
  if j[13] then
    large().drop(large().reference(KEYS[1], 'run:part'))
  end
  -- Some of these are there until a recording. When it began is kept.
  if redis.call('HDEL', KEYS[1], 'args', 'run', 'run:lost', 'run:part', 'run:done') == 0 then
    return damage(state, j[2])
  end
  if apart then
    large().adopt(ARGV[2], 'out', redis.call('PTTL', KEYS[1]))
  end
  if failed > 0 and args then
    keep(KEYS[1], 'run', args)
  elseif args then
    large().drop(args)
  end
  -- A damaged counter counts as 0: the job must end all the same.
  local done = (tonumber(j[10]) or 0) + tonumber(ARGV[3]) - (tonumber(j[12]) or 0)
  failed = (tonumber(j[11]) or 0) + failed
  local fields = {'out', ARGV[2], 'recorded', recorded, 'done', done, 'failed', failed}
  if ARGV[7] and ARGV[7] ~= '' and ARGV[7] ~= '0' then
    fields[9], fields[10] = 'slow', ARGV[7] .. ' ' .. ARGV[8]
  end
  state = 'done'
  redis.call('HSET', KEYS[1], 'state', state, 'finished', now_ms(), unpack(fields))
  local ttl = lifetime(j[4])
  redis.call('PEXPIRE', KEYS[1], ttl)
  if j[13] or apart then
    large().expire(ttl)
  end
  local what, outcome = traveling()
  notify(j[5], j[6], what, ARGV[1], recorded, done, failed, state, outcome, 0)
  return 'ok'
end

-- Stores the outcomes of a chunk. The first recording wins. Returns "ok"; or, with
-- nothing changed, "recorded" (it has an outcome already), "canceled", "gone", or an
-- error: see damage.
local function recording()
  local chunk = ARGV[1]
  local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'chunks', 'ttl', 'reply', 'id', 'gen', 'slow',
    'recorded', 'done', 'failed', 'run:done', 'blobs')
  local state = j[1]
  if not state or another(j[7], ARGV[6]) then
    if apart then
      large().spurn(ARGV[2])
    end
    return 'gone'
  end
  if state == 'canceled' or state == 'done' then
    if apart then
      large().spurn(ARGV[2])
    end
    return state == 'done' and 'recorded' or state
  end
  local problem = apart and large().absent(ARGV[2])
  if problem then
    return problem
  end
  if j[2] == '1' then
    return record_inline(j)
  end
  problem = damage(state, j[2], j[3], j[9])
  if problem then
    return problem
  end
  local ak, af, ok, of, rk, rf = places(j[2], chunk)
  local failed, args = tonumber(ARGV[4]), nil
  if failed > 0 then
    args = redis.call('HGET', ak, af)
  elseif j[13] then
    args = large().reference(ak, af)
  end
  if redis.call('HDEL', ak, af) == 0 then
    if apart then
      large().spurn(ARGV[2])
    end
    return 'recorded'
  end
  if apart then
    large().adopt(ARGV[2], 'out', redis.call('PTTL', KEYS[1]))
  end
  redis.call('HSET', ok, of, ARGV[2])
  -- Calls that a checkpoint has counted are not counted again.
  local r = redis.call('HMGET', rk, rf, rf .. ':done')
  local counted = tonumber(r[2] or '0')
  if j[13] then
    large().drop(large().reference(rk, rf .. ':part'))
  end
  redis.call('HDEL', rk, rf, rf .. ':at', rf .. ':lost', rf .. ':part', rf .. ':done')
  local running = hold(j[2], r[1] and r[1] ~= '' and -1 or 0)
  local recorded = redis.call('HINCRBY', KEYS[1], 'recorded', 1)
  local done = redis.call('HINCRBY', KEYS[1], 'done', tonumber(ARGV[3]) - counted)
  if failed > 0 then
    keep(rk, rf, args)
    failed = redis.call('HINCRBY', KEYS[1], 'failed', failed)
  else
    if args then
      large().drop(args)
    end
    failed = j[11]
  end
  if redis.call('RPUSH', KEYS[4], chunk) == 1 or redis.call('HLEN', KEYS[3]) == 1 then
    live_along(KEYS[3])
    live_along(KEYS[4])
  end
  if ARGV[7] and ARGV[7] ~= '' then
    note_slow(j[8], ARGV[7], ARGV[8])
  end
  if state == 'sealed' and recorded == tonumber(j[3]) then
    state = 'done'
    finish(state, j[4])
  end
  local what, outcome = traveling()
  notify(j[5], j[6], what, chunk, recorded, done, failed, state, outcome, running)
  return 'ok'
end
