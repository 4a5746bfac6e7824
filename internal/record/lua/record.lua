-- record: the outcomes of a chunk. The first recording wins.
--
-- ARGV: 1 chunk, 2 framed outcomes, 3 calls in it, 4 failed calls in it, 5
-- largest outcome (bytes) that travels inside the notice, 6 the job's generation,
-- 7 how long its slowest call took (ms; "" if nobody measured), 8 "<call> <worker>".
-- Reply: "ok"; or, with nothing changed: "recorded" (it has an outcome already),
-- "canceled", "gone".

local chunk = ARGV[1]
local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'chunks', 'ttl', 'reply', 'id', 'gen', 'slow')
local state = j[1]
if not state or another(j[7], ARGV[6]) then
  return 'gone'
end
if state == 'canceled' then
  return state
end
local ak, af, ok, of, rk, rf = places(j[2], chunk)
local failed, args = tonumber(ARGV[4]), nil
if failed > 0 then
  args = redis.call('HGET', ak, af)
end
if redis.call('HDEL', ak, af) == 0 then
  return 'recorded'
end
redis.call('HSET', ok, of, ARGV[2])
-- Calls that a checkpoint has counted are not counted again.
local r = redis.call('HMGET', rk, rf, rf .. ':done')
local counted = tonumber(r[2] or '0')
if j[2] == '1' then
  redis.call('HDEL', rk, rf, rf .. ':lost', rf .. ':part', rf .. ':done') -- when it began is kept
else
  redis.call('HDEL', rk, rf, rf .. ':at', rf .. ':lost', rf .. ':part', rf .. ':done')
end
local running = hold(j[2], r[1] and r[1] ~= '' and -1 or 0)
local recorded = redis.call('HINCRBY', KEYS[1], 'recorded', 1)
local done = redis.call('HINCRBY', KEYS[1], 'done', tonumber(ARGV[3]) - counted)
if failed > 0 then
  keep(rk, rf, args)
  failed = redis.call('HINCRBY', KEYS[1], 'failed', failed)
else
  failed = redis.call('HGET', KEYS[1], 'failed')
end
if j[2] ~= '1' and redis.call('RPUSH', KEYS[4], chunk) == 1 then
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then
    redis.call('PEXPIRE', KEYS[3], left)
    redis.call('PEXPIRE', KEYS[4], left)
  end
end
if ARGV[7] and ARGV[7] ~= '' then
  note_slow(j[8], ARGV[7], ARGV[8])
end
if state == 'sealed' and recorded == tonumber(j[3]) then
  state = 'done'
  finish(state, j[4])
end
local what, outcome = 'out', ARGV[2]
if #outcome > tonumber(ARGV[5]) then
  what, outcome = 'rec', ''
end
notify(j[5], j[6], what, chunk, recorded, done, failed, state, outcome, running)
return 'ok'
